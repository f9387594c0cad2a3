import { create } from '@bufbuild/protobuf';
import { AnySchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defaultMeshConfig } from '../model/mesh-config.ts';
import { decodeAddress } from './address-codec.ts';
import { decodeAuthorization, encodeAuthorization } from './authorization-codec.ts';
import {
  authorizationArbitrary,
  meshConfigArbitrary,
  nodePodArbitrary,
  serviceArbitrary,
  workloadArbitrary,
} from './testing/model-arbitrary.ts';
import type { EncodedResource } from './resource.ts';
import { encodeService } from './service-codec.ts';
import {
  addressType,
  authorizationType,
  enrolledNamespacesType,
  meshConfigType,
  nodePodType,
} from './type-urls.ts';
import {
  decodeEnrolledNamespaces,
  decodeMeshConfig,
  decodeNodePod,
  encodeEnrolledNamespaces,
  encodeMeshConfig,
  encodeNodePod,
} from './weft-codec.ts';
import { encodeWorkload } from './workload-codec.ts';

test('encodeMeshConfig() and decodeMeshConfig() give back every setting unchanged', () => {
  fc.assert(
    fc.property(meshConfigArbitrary, (config) => {
      expect(decodeMeshConfig(encodeMeshConfig(config).any)).toEqual({ ok: true, value: config });
    }),
  );
});

test('decodeMeshConfig() takes unset fields as the defaults', () => {
  const any = create(AnySchema, { typeUrl: meshConfigType });
  expect(decodeMeshConfig(any)).toEqual({ ok: true, value: defaultMeshConfig });
});

test('encodeNodePod() and decodeNodePod() give back every pod unchanged', () => {
  fc.assert(
    fc.property(nodePodArbitrary, (pod) => {
      expect(decodeNodePod(encodeNodePod(pod).any)).toEqual({ ok: true, value: pod });
    }),
  );
});

test('decodeNodePod() assumes no part of an identity', () => {
  const any = create(AnySchema, { typeUrl: nodePodType });
  expect(decodeNodePod(any)).toEqual({ ok: false, reason: 'Field uid is empty' });
});

test('encodeEnrolledNamespaces() and decodeEnrolledNamespaces() give back the names', () => {
  for (const names of [[], ['a', 'shop-1']]) {
    expect(decodeEnrolledNamespaces(encodeEnrolledNamespaces(names).any)).toEqual({ ok: true, value: names });
  }
});

test.each(['', 'Shop', 'a\nb', '-a', 'a'.repeat(64)])(
  'decodeEnrolledNamespaces() refuses %j, which no namespace is called',
  (name) => {
    expect(decodeEnrolledNamespaces(encodeEnrolledNamespaces(['a', name]).any)).toEqual({
      ok: false,
      reason: expect.stringContaining('Field names[1] is no name of a namespace'),
    });
  },
);

describe('decoders', () => {
  const decoders = [
    [addressType, decodeAddress],
    [authorizationType, (any: EncodedResource['any']) => decodeAuthorization(any, 'n')],
    [meshConfigType, decodeMeshConfig],
    [nodePodType, decodeNodePod],
    [enrolledNamespacesType, decodeEnrolledNamespaces],
  ] as const;

  test.each(decoders)('survive random bytes as %s', (typeUrl, decode) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (value) => {
        expect(typeof decode(create(AnySchema, { typeUrl, value })).ok).toBe('boolean');
      }),
      { numRuns: 1000 },
    );
  });

  test('survive valid resources with bytes changed or cut off', () => {
    const encoded = fc.oneof(
      workloadArbitrary.map(encodeWorkload),
      serviceArbitrary.map(encodeService),
      authorizationArbitrary.map(encodeAuthorization),
      nodePodArbitrary.map(encodeNodePod),
    );
    fc.assert(
      fc.property(encoded, fc.nat(), fc.nat(255), fc.nat(), ({ any }, at, byte, cut) => {
        const value = any.value.slice(0, any.value.length - (cut % 4));
        value[at % Math.max(1, value.length)] = byte;
        for (const [typeUrl, decode] of decoders) {
          expect(typeof decode(create(AnySchema, { typeUrl, value })).ok).toBe('boolean');
        }
      }),
      { numRuns: 1000 },
    );
  });
});
