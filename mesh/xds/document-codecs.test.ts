import { create, toBinary } from '@bufbuild/protobuf';
import { AnySchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { documentDecoders } from './document-decoders.ts';
import { WaypointSchema } from './gen/weft/v1/weft_pb.ts';
import { encodeHttpAuthorization } from './http-authorization-codec.ts';
import { encodeRequestAuthentication } from './request-authentication-codec.ts';
import type { EncodedResource } from './resource.ts';
import { decodeServiceRouting, encodeServiceRouting } from './routing-codec.ts';
import {
  httpAuthorizationArbitrary,
  requestAuthenticationArbitrary,
  serviceRoutingArbitrary,
  waypointArbitrary,
} from './testing/document-arbitrary.ts';
import {
  documentTypes,
  httpAuthorizationType,
  requestAuthenticationType,
  serviceRoutingType,
  waypointType,
} from './type-urls.ts';
import { decodeWaypoint, encodeWaypoint } from './waypoint-codec.ts';

interface Codec<T> {
  readonly values: fc.Arbitrary<T>;
  readonly encode: (value: T) => EncodedResource;
}

const codecs: Record<(typeof documentTypes)[number], Codec<never>> = {
  [waypointType]: { values: waypointArbitrary, encode: encodeWaypoint } as unknown as Codec<never>,
  [serviceRoutingType]: {
    values: serviceRoutingArbitrary,
    encode: encodeServiceRouting,
  } as unknown as Codec<never>,
  [httpAuthorizationType]: {
    values: httpAuthorizationArbitrary,
    encode: encodeHttpAuthorization,
  } as unknown as Codec<never>,
  [requestAuthenticationType]: {
    values: requestAuthenticationArbitrary,
    encode: encodeRequestAuthentication,
  } as unknown as Codec<never>,
};

/** The same value with the properties of every object in the opposite order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).toReversed();
  return Object.fromEntries(entries.map(([key, inner]) => [key, reversed(inner)]));
}

describe.each(documentTypes)('codec of %s', (type) => {
  const { values, encode } = codecs[type];

  test('gives back every value unchanged', () => {
    fc.assert(
      fc.property(values, (value) => {
        const encoded = encode(value);
        expect(encoded.any.typeUrl).toBe(type);
        expect(documentDecoders[type](encoded.any)).toEqual({ ok: true, value });
      }),
    );
  });

  test('makes equal bytes of equal values, whatever the order of their properties', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(encode(reversed(value) as never).version).toBe(encode(value).version);
      }),
    );
  });

  test('never throws, whatever the document is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (json) => {
        const value = toBinary(WaypointSchema, create(WaypointSchema, { json }));
        const decoded = documentDecoders[type](create(AnySchema, { typeUrl: type, value }));
        expect(decoded.ok).toBe(false);
      }),
    );
  });

  test('refuses a value of which any property is missing, unless that may be absent, or of another type', () => {
    fc.assert(
      fc.property(values, fc.nat(), (value, seed) => {
        const names = Object.keys(value);
        const name = names[seed % names.length] as string;
        const decoded = documentDecoders[type](encode({ ...(value as object), [name]: 0.5 } as never).any);
        expect(decoded).toMatchObject({ ok: false, reason: expect.stringContaining(name) as string });
      }),
    );
  });
});

function waypoint(json: string) {
  const value = toBinary(WaypointSchema, create(WaypointSchema, { json }));
  return decodeWaypoint(create(AnySchema, { typeUrl: waypointType, value }));
}

const config = {
  gateway: 'shop/wp',
  servesFor: 'service',
  serviceAccount: 'wp',
  addresses: ['10.0.0.1'],
  forwardClientCert: false,
};

describe('decoding a document', () => {
  test('names a property that this version does not know', () => {
    const reason = 'Field later is not known here';
    expect(waypoint(JSON.stringify({ ...config, later: 1 }))).toEqual({ ok: false, reason });
  });

  test('names the place of a value that is wrong', () => {
    const reason = 'Field addresses[1] is not acceptable: must be a canonical IP address';
    expect(waypoint(JSON.stringify({ ...config, addresses: ['10.0.0.1', '010.0.0.1'] }))).toEqual({
      ok: false,
      reason,
    });
  });

  test('says when the text is no JSON', () => {
    const decoded = waypoint('{');
    expect(decoded).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/^Field json is no JSON: /) as string,
    });
  });

  test('names a filter of a kind that this version does not know', () => {
    const [routing] = fc.sample(serviceRoutingArbitrary, { numRuns: 1, seed: 7 });
    const rule = {
      name: { kind: 'HTTPRoute', namespace: 'shop', name: 'r', rule: '0' },
      matches: [],
      filters: [{ kind: 'teleport' }],
      backends: [],
      timeouts: {},
    };
    const ports = [{ port: 80, routes: { http: [rule], tls: [] }, consumers: [] }];
    const decoded = decodeServiceRouting(encodeServiceRouting({ ...routing, ports } as never).any);
    expect(decoded).toMatchObject({
      ok: false,
      reason: expect.stringContaining('ports[0].routes.http[0].filters[0].kind') as string,
    });
  });

  test('refuses a policy of scope "target" without targets, and targets of another scope', () => {
    const [policy] = fc.sample(httpAuthorizationArbitrary, { numRuns: 1, seed: 3 });
    const targets = [{ kind: 'namespace', namespace: 'shop' }];
    for (const bad of [
      { ...policy, scope: 'target', targets: undefined },
      { ...policy, scope: 'global', targets },
    ]) {
      const { any } = encodeHttpAuthorization(bad as never);
      expect(documentDecoders[httpAuthorizationType](any)).toMatchObject({
        ok: false,
        reason: expect.stringContaining('Field targets does not fit') as string,
      });
    }
  });
});
