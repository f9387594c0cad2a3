// A discovery response to bytes. The same resource goes to every node, so its bytes are made once and kept as long as
// the store keeps the resource; what differs from node to node is a few bytes around them.

import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
  type Resource,
  ResourceSchema,
} from './gen/envoy/service/discovery/v3/discovery_pb.ts';
import type { StoredResource } from './resource-store.ts';

const messages = new WeakMap<StoredResource, Resource>();
const encoded = new WeakMap<Resource, Uint8Array>();

/** The resource as a response holds it; the same message each time it goes by its own name. */
export function responseResource(name: string, resource: StoredResource): Resource {
  const known = name === resource.name ? messages.get(resource) : undefined;
  if (known !== undefined) return known;
  const { version, aliases, any } = resource;
  const message = create(ResourceSchema, { name, version, aliases: [...aliases], resource: any });
  if (name === resource.name) messages.set(resource, message);
  return message;
}

/** As toBinary() would, but with resources after the other fields, which readers may not care about (protobuf). */
export function encodeResponse(response: DeltaDiscoveryResponse): Buffer {
  const rest = create(DeltaDiscoveryResponseSchema, { ...response, resources: [] });
  const parts = [toBinary(DeltaDiscoveryResponseSchema, rest), ...response.resources.map(encodeField)];
  return Buffer.concat(parts);
}

/** With tag and length. Messages of responses never change once they are made. */
function encodeField(resource: Resource): Uint8Array {
  let bytes = encoded.get(resource);
  if (bytes === undefined) {
    const { number } = DeltaDiscoveryResponseSchema.field.resources;
    const writer = new BinaryWriter().tag(number, WireType.LengthDelimited);
    bytes = writer.bytes(toBinary(ResourceSchema, resource)).finish();
    encoded.set(resource, bytes);
  }
  return bytes;
}
