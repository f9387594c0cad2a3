// Fields of a Gateway API object that nobody knows and that are one slip away from one that is known. Such objects may hold
// fields of a newer release, which are dropped without a word; a misspelt one would be dropped just so, and what it was
// to say would be missing in silence. For files only: an API server has told its user already.

import { z } from 'zod';
import type { ResourceKind } from '../resources/resource-kind.ts';
import { groupOf } from '../resources/resource-kind.ts';
import { gatewayGroup } from '../resources/gateway-kinds.ts';
import { nearestWord } from './nearest-word.ts';
import type { FieldPath } from './problem.ts';

export interface MisspeltField {
  readonly path: FieldPath;
  readonly of: 'key';
  readonly message: string;
}

/** Of an object that passed the schema of its kind. */
export function misspeltFields(kind: ResourceKind, value: Record<string, unknown>): readonly MisspeltField[] {
  if (kind.schema === undefined || groupOf(kind.apiVersion) !== gatewayGroup) return [];
  const found: MisspeltField[] = [];
  const { spec } = value;
  look(kind.schema, { spec }, { path: [], found });
  return found;
}

function look(
  schema: z.core.$ZodType,
  value: unknown,
  { path, found }: { readonly path: FieldPath; readonly found: MisspeltField[] },
): void {
  const inner = unwrapped(schema);
  if (inner instanceof z.ZodArray && Array.isArray(value)) {
    for (const [index, item] of value.entries()) look(inner.element, item, { path: [...path, index], found });
  }
  if (!(inner instanceof z.ZodObject) || typeof value !== 'object' || value === null) return;
  const shape = inner.shape as Readonly<Record<string, z.core.$ZodType>>;
  for (const [key, field] of Object.entries(value)) {
    const known = Object.hasOwn(shape, key) ? shape[key] : undefined;
    if (known !== undefined) {
      look(known, field, { path: [...path, key], found });
      continue;
    }
    const near = nearestWord(key, Object.keys(shape));
    if (near === undefined) continue;
    const message = `Unknown field "${key}" is ignored: did you mean "${near}"?`;
    found.push({ path: [...path, key], of: 'key', message });
  }
}

/** Without what stands around a schema: defaults, transforms, being optional. */
function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault)
    return unwrapped(schema.unwrap());
  return schema instanceof z.ZodPipe ? unwrapped(schema.in) : schema;
}
