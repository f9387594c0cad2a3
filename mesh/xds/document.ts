// Values of the model as JSON documents in messages of one string field: written with sorted keys, so that equal values
// are equal bytes; read by a strict schema, so that what this version does not know is refused and never half applied.
// Loaded by the controller and by waypoints only: the schema library costs a node tunnel 15 MB.

import { create, type DescMessage, type Message, type MessageInitShape } from '@bufbuild/protobuf';
import type { GenMessage } from '@bufbuild/protobuf/codegenv2';
import type { Any } from '@bufbuild/protobuf/wkt';
import { z } from 'zod';
import { decode, reject } from './decode-field.ts';
import { type Decoded, type EncodedResource, encodeResource } from './resource.ts';

type DocumentMessage = GenMessage<Message & { json: string }>;

/** Of `value` without its undefined properties; maps and functions have no place in a document. */
export function encodeDocument<Desc extends DocumentMessage>(
  schema: Desc,
  value: object,
  name: string,
): EncodedResource {
  const init = { json: stableJson(value) } as MessageInitShape<Desc>;
  return encodeResource(schema as DescMessage, create(schema, init), { name });
}

/** Never throws; the reason names the first field that is wrong. `check` may refuse() further. */
export function decodeDocument<T>(
  any: Any,
  { message, schema, check }: { message: DocumentMessage; schema: z.ZodType<T>; check?: (value: T) => void },
): Decoded<T> {
  return decode(message, any, ({ json }) => {
    const result = schema.safeParse(parseJson(json));
    if (!result.success) return rejectIssue(result.error.issues[0]);
    check?.(result.data);
    return result.data;
  });
}

/** An object with exactly the properties of T; one that T has and `shape` has not is a compile error. */
export function exactly<T>(shape: { readonly [K in keyof T]-?: z.ZodType<T[K]> }): z.ZodType<T> {
  return z.strictObject(shape) as unknown as z.ZodType<T>;
}

/** One of several objects told apart by their property `kind`. */
export function eitherKind<T extends { readonly kind: string }>(
  options: readonly z.ZodType<T>[],
): z.ZodType<T> {
  return z.discriminatedUnion(
    'kind',
    options as unknown as [z.core.$ZodTypeDiscriminable],
  ) as unknown as z.ZodType<T>;
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    return reject('json', `is no JSON: ${(error as Error).message}`);
  }
}

function rejectIssue(issue: z.core.$ZodIssue | undefined): never {
  if (issue === undefined) return reject('json', 'is not acceptable');
  const [unknownKey] = issue.code === 'unrecognized_keys' ? issue.keys : [];
  if (unknownKey !== undefined) return reject(formatPath([...issue.path, unknownKey]), 'is not known here');
  return reject(formatPath(issue.path), `is not acceptable: ${issue.message}`);
}

function formatPath(path: readonly PropertyKey[]): string {
  const text = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
  return text === '' ? 'json' : text.replace(/^\./, '');
}

function stableJson(value: object): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
