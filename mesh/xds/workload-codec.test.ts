import { create, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Any, AnySchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ServiceKey } from '../model/service.ts';
import { decodeAddress } from './address-codec.ts';
import { AddressSchema, type WorkloadSchema } from './gen/istio/workload/workload_pb.ts';
import { workloadArbitrary } from './testing/model-arbitrary.ts';
import { addressType } from './type-urls.ts';
import { encodeWorkload } from './workload-codec.ts';

function wire(workload: MessageInitShape<typeof WorkloadSchema>): Any {
  const message = create(AddressSchema, { type: { case: 'workload', value: workload } });
  return create(AnySchema, { typeUrl: addressType, value: toBinary(AddressSchema, message) });
}

function reasonOf(any: Any): string {
  const decoded = decodeAddress(any);
  return decoded.ok ? 'accepted' : decoded.reason;
}

describe('encodeWorkload() and decodeAddress()', () => {
  test('give back every workload unchanged', () => {
    fc.assert(
      fc.property(workloadArbitrary, (workload) => {
        expect(decodeAddress(encodeWorkload(workload).any)).toEqual({
          ok: true,
          value: { kind: 'workload', workload },
        });
      }),
    );
  });

  test('give equal versions for equal workloads, whatever the order of the service map', () => {
    fc.assert(
      fc.property(workloadArbitrary, (workload) => {
        const services = new Map([...workload.services].reverse());
        expect(encodeWorkload({ ...workload, services }).version).toBe(encodeWorkload(workload).version);
      }),
    );
  });

  test('name a workload by uid, alias it by network and address, group it by its services', () => {
    const [sample] = fc.sample(workloadArbitrary, 1);
    const workload = {
      ...(sample as NonNullable<typeof sample>),
      uid: 'c//Pod/shop/api' as never,
      network: 'n1',
      addresses: ['10.0.0.1', 'fd00::1'] as never[],
      services: new Map([['shop/api.shop' as ServiceKey, []]]),
    };
    expect(encodeWorkload({ ...workload, networkMode: 'standard' })).toMatchObject({
      name: 'c//Pod/shop/api',
      aliases: ['n1/10.0.0.1', 'n1/fd00::1'],
      groups: ['shop/api.shop'],
    });
    expect(encodeWorkload({ ...workload, networkMode: 'host-network' }).aliases).toEqual([]);
  });
});

describe('decodeAddress() of a workload', () => {
  test('fills in what an empty field means', () => {
    const decoded = decodeAddress(wire({ uid: 'u' }));
    expect(decoded).toMatchObject({
      ok: true,
      value: {
        workload: {
          trustDomain: 'cluster.local',
          serviceAccount: 'default',
          clusterId: 'Kubernetes',
          capacity: 1,
          tunnelProtocol: 'none',
          workloadType: 'deployment',
        },
      },
    });
  });

  test('keeps a capacity of 0 apart from an absent one', () => {
    expect(decodeAddress(wire({ uid: 'u', capacity: 0 }))).toMatchObject({
      value: { workload: { capacity: 0 } },
    });
  });

  test.each([
    ['no uid', {}, 'Field uid is empty'],
    [
      'an address of 5 bytes',
      { uid: 'u', addresses: [new Uint8Array(5)] },
      'Field addresses[0] must be 4 or 16',
    ],
    ['the legacy tunnel', { uid: 'u', tunnelProtocol: 2 }, 'Field tunnel_protocol is LEGACY_ISTIO_MTLS'],
    [
      'an unknown tunnel',
      { uid: 'u', tunnelProtocol: 9 as never },
      'Field tunnel_protocol has the unknown value 9',
    ],
    ['an unknown status', { uid: 'u', status: 2 as never }, 'Field status has the unknown value 2'],
    ['an unknown network mode', { uid: 'u', networkMode: 7 as never }, 'Field network_mode has the unknown'],
    ['a waypoint without destination', { uid: 'u', waypoint: {} }, 'Field waypoint has neither'],
    ['a gateway without destination', { uid: 'u', networkGateway: {} }, 'Field network_gateway has neither'],
    ['a service key without slash', { uid: 'u', services: { api: {} } }, 'Field services["api"] must be'],
    [
      'a port above 65535',
      { uid: 'u', services: { 'a/b': { ports: [{ servicePort: 70_000 }] } } },
      'Field services["a/b"].ports[0].service_port must be a port, got 70000',
    ],
  ] as const)('refuses %s and names the field', (_case, workload, reason) => {
    expect(reasonOf(wire(workload as MessageInitShape<typeof WorkloadSchema>))).toContain(reason);
  });

  test('takes an unknown workload type as a deployment', () => {
    expect(reasonOf(wire({ uid: 'u', workloadType: 99 as never }))).toBe('accepted');
  });

  test('refuses an address that is neither a workload nor a service', () => {
    expect(reasonOf(create(AnySchema, { typeUrl: addressType }))).toBe(
      'Field type is neither a workload nor a service',
    );
  });

  test('refuses a resource of another type', () => {
    expect(reasonOf(create(AnySchema, { typeUrl: 'type.googleapis.com/x.Y' }))).toBe(
      'Expected a resource of type "istio.workload.Address", got "type.googleapis.com/x.Y"',
    );
  });
});
