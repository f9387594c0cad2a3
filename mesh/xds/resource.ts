// A resource as it stands on the wire: packed message, names to find it by, and a version that is a hash of the
// content, so that equal content never travels twice, not even across a restart of the controller.

import { createHash } from 'node:crypto';
import { create, type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { type Any, AnySchema } from '@bufbuild/protobuf/wkt';

export interface EncodedResource {
  readonly name: string;
  /** Other names a client may ask for, for example `<network>/<ip>`. */
  readonly aliases: readonly string[];
  /** Names of resources whose on-demand subscribers need this one too: the services of a workload. */
  readonly groups: readonly string[];
  readonly any: Any;
  /** 96 bits of SHA-256 over the content, base64url. */
  readonly version: string;
}

export type Decoded<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string };

export interface ResourceNames {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly groups?: readonly string[];
}

/** Equal messages give equal bytes only if the caller fills maps in a fixed order. */
export function encodeResource<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  { name, aliases = [], groups = [] }: ResourceNames,
): EncodedResource {
  const value = toBinary(schema, message);
  const any = create(AnySchema, { typeUrl: `type.googleapis.com/${schema.typeName}`, value });
  return { name, aliases, groups, any, version: contentVersion(value) };
}

export function contentVersion(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('base64url').slice(0, 16);
}
