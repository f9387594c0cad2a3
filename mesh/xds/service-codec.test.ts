import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Any, AnySchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeAddress } from './address-codec.ts';
import { AddressSchema, type ServiceSchema } from './gen/istio/workload/workload_pb.ts';
import { ServiceDetailsSchema } from './gen/weft/v1/weft_pb.ts';
import { serviceArbitrary } from './testing/model-arbitrary.ts';
import { encodeService } from './service-codec.ts';
import { addressType } from './type-urls.ts';

function decodeWire(service: MessageInitShape<typeof ServiceSchema>) {
  const message = create(AddressSchema, { type: { case: 'service', value: service } });
  return decodeAddress(create(AnySchema, { typeUrl: addressType, value: toBinary(AddressSchema, message) }));
}

function details(init: MessageInitShape<typeof ServiceDetailsSchema>): { config: Any } {
  const value = toBinary(ServiceDetailsSchema, create(ServiceDetailsSchema, init));
  return { config: create(AnySchema, { typeUrl: 'type.googleapis.com/weft.v1.ServiceDetails', value }) };
}

describe('encodeService() and decodeAddress()', () => {
  test('give back every service unchanged', () => {
    fc.assert(
      fc.property(serviceArbitrary, (service) => {
        const encoded = encodeService(service);
        expect(decodeAddress(encoded.any)).toEqual({ ok: true, value: { kind: 'service', service } });
        expect(encoded.name).toBe(service.key);
      }),
    );
  });

  test('alias a service by single addresses, not by ranges', () => {
    const decoded = decodeWire({
      namespace: 'a',
      hostname: 'b',
      addresses: [
        { network: 'n', address: Uint8Array.of(10, 0, 0, 1) },
        { address: Uint8Array.of(10, 0, 0, 2), length: 32 },
        { address: Uint8Array.of(10, 1, 0, 0), length: 16 },
      ],
    });
    if (!decoded.ok || decoded.value.kind !== 'service') throw new Error('Not a service');
    expect(encodeService(decoded.value.service).aliases).toEqual(['n/10.0.0.1', '/10.0.0.2']);
  });
});

describe('decodeAddress() of a service', () => {
  test('takes what Istio leaves out as the default', () => {
    expect(decodeWire({ namespace: 'a', hostname: 'b', visibility: 9 as never })).toMatchObject({
      ok: true,
      value: {
        service: {
          key: 'a/b',
          visibility: 'public',
          loadBalancing: { mode: 'unspecified', routingPreference: [], healthPolicy: 'only-healthy' },
        },
      },
    });
  });

  test('ignores extensions of others', () => {
    const config = create(AnySchema, { typeUrl: 'type.googleapis.com/x.Y', value: Uint8Array.of(255) });
    expect(decodeWire({ hostname: 'b', extensions: [{ name: 'x', config }, { name: 'y' }] }).ok).toBe(true);
  });

  test.each([
    ['no hostname', {}, 'Field hostname is empty'],
    [
      'a VIP of 3 bytes',
      { hostname: 'b', addresses: [{ address: new Uint8Array(3) }] },
      'addresses[0].address must',
    ],
    [
      'an IPv4 prefix of 33',
      { hostname: 'b', addresses: [{ address: new Uint8Array(4), length: 33 }] },
      'Field addresses[0].length is no prefix length of "0.0.0.0": 33',
    ],
    [
      'scope 0',
      { hostname: 'b', loadBalancing: { routingPreference: [0] } },
      'routing_preference[0] has the unknown',
    ],
    [
      'an unknown mode',
      { hostname: 'b', loadBalancing: { mode: 9 as never } },
      'load_balancing.mode has the unknown',
    ],
    ['unknown families', { hostname: 'b', ipFamilies: 4 as never }, 'ip_families has the unknown value 4'],
    ['an empty waypoint', { hostname: 'b', waypoint: {} }, 'Field waypoint has neither'],
    [
      'a weighted waypoint to nowhere',
      { hostname: 'b', weightedWaypoints: [{ weight: 1 }] },
      'weighted_waypoints[0]',
    ],
    [
      'port names that do not fit',
      { hostname: 'b', extensions: [details({ portNames: ['x'] })] },
      '1 names for 0',
    ],
    [
      'a connect timeout of 0',
      { hostname: 'b', extensions: [details({ trafficPolicy: { key: 'k', connectTimeoutMs: 0 } })] },
      'Field traffic_policy.connect_timeout_ms must be 1 to 60000, got 0',
    ],
    [
      'an extension of ours that is no message',
      {
        hostname: 'b',
        extensions: [
          {
            config: create(AnySchema, {
              typeUrl: 'type.googleapis.com/weft.v1.ServiceDetails',
              value: Uint8Array.of(255),
            }),
          },
        ],
      },
      'Field extensions["weft.v1.ServiceDetails"] is no weft.v1.ServiceDetails',
    ],
  ] as const)('refuses %s and names the field', (_case, service, reason) => {
    const decoded = decodeWire(service as unknown as MessageInitShape<typeof ServiceSchema>);
    expect(decoded.ok ? 'accepted' : decoded.reason).toContain(reason);
  });
});
