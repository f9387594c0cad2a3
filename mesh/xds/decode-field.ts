// Checks of single wire fields. A field that is not acceptable throws FieldRejected with the field's name; decode()
// turns that, and bytes that are no message at all, into the reason a resource is refused for.

import { type DescMessage, fromBinary, type MessageShape, type UnknownEnum } from '@bufbuild/protobuf';
import type { Any } from '@bufbuild/protobuf/wkt';
import { type IpAddress, ipFromBytes } from '../model/ip-address.ts';
import type { Decoded } from './resource.ts';

class FieldRejected extends Error {}

export function reject(field: string, problem: string): never {
  throw new FieldRejected(`Field ${field} ${problem}`);
}

/** Unpacks one message and converts it; never throws, whatever the bytes are. */
export function decode<Desc extends DescMessage, T>(
  schema: Desc,
  any: Any,
  convert: (message: MessageShape<Desc>) => T,
): Decoded<T> {
  if (any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1) !== schema.typeName) {
    return { ok: false, reason: `Expected a resource of type "${schema.typeName}", got "${any.typeUrl}"` };
  }
  let message: MessageShape<Desc>;
  try {
    message = fromBinary(schema, any.value);
  } catch (error) {
    return { ok: false, reason: `Bytes are no ${schema.typeName}: ${(error as Error).message}` };
  }
  try {
    return { ok: true, value: convert(message) };
  } catch (error) {
    if (error instanceof FieldRejected) return { ok: false, reason: error.message };
    throw error;
  }
}

/** An embedded message of our own; refused with the field's name when it does not decode. */
export function unpackField<Desc extends DescMessage>(
  schema: Desc,
  any: Any,
  field: string,
): MessageShape<Desc> {
  try {
    return fromBinary(schema, any.value);
  } catch (error) {
    return reject(field, `is no ${schema.typeName}: ${(error as Error).message}`);
  }
}

export function requireText(text: string, field: string): string {
  return text === '' ? reject(field, 'is empty') : text;
}

/** 4 or 16 bytes. */
export function decodeIp(bytes: Uint8Array, field: string): IpAddress {
  if (bytes.length !== 4 && bytes.length !== 16) {
    return reject(field, `must be 4 or 16 bytes of an IP address, got ${bytes.length}`);
  }
  return ipFromBytes(bytes);
}

/** 0 to 65535; the wire has 32 bits for it. */
export function decodePort(port: number, field: string): number {
  return port > 65_535 ? reject(field, `must be a port, got ${port}`) : port;
}

/** The name of a wire enum value by its number; an unknown number is refused. */
export function decodeEnum<Name extends string>(
  names: readonly (Name | undefined)[],
  value: number,
  field: string,
): Name {
  return names[value] ?? reject(field, `has the unknown value ${value}`);
}

/** The number of a model value: its last position, since position 0 may repeat the default. */
export function encodeEnum<Name extends string>(
  names: readonly (Name | undefined)[],
  name: Name,
): UnknownEnum {
  return names.lastIndexOf(name) as UnknownEnum;
}
