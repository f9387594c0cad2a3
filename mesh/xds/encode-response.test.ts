import { create, fromBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { encodeResponse, responseResource } from './encode-response.ts';
import {
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
} from './gen/envoy/service/discovery/v3/discovery_pb.ts';
import { encodeWorkload } from './workload-codec.ts';
import { makeWorkload } from './testing/test-mesh.ts';

const readBack = (response: DeltaDiscoveryResponse) =>
  fromBinary(DeltaDiscoveryResponseSchema, new Uint8Array(encodeResponse(response)));

describe('encodeResponse()', () => {
  it('makes bytes that read back as the same response, also the second time', () => {
    const resources = ['a', 'b'].map((name) => encodeWorkload(makeWorkload(name)));
    for (const nonce of ['1', '2']) {
      const response = create(DeltaDiscoveryResponseSchema, {
        typeUrl: 'type',
        nonce,
        resources: resources.map((resource) => responseResource(resource.name, resource)),
        removedResources: ['gone', ''],
      });
      expect(readBack(response)).toEqual(response);
    }
  });

  it('writes an empty response', () => {
    const response = create(DeltaDiscoveryResponseSchema, { typeUrl: 'type', nonce: '1' });
    expect(readBack(response)).toEqual(response);
  });
});

describe('responseResource()', () => {
  it('is one message for all nodes, and another under the name that was asked for', () => {
    const resource = encodeWorkload(makeWorkload('a'));
    const own = responseResource(resource.name, resource);
    expect(responseResource(resource.name, resource)).toBe(own);
    expect(responseResource('/10.0.0.1', resource)).toMatchObject({
      name: '/10.0.0.1',
      version: own.version,
    });
    expect(responseResource(resource.name, resource).name).toBe(resource.name);
  });
});
