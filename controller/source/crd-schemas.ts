// Validators of our own kinds, compiled from the CRDs in manifests/crds: the directory source accepts exactly what
// an API server with these CRDs does (CEL rules excepted: translate checks those), and fills in the same defaults.
// Unlike an API server it refuses unknown fields, because a misspelt field of a policy must not be dropped silently.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv, type ValidateFunction } from 'ajv';
import { parse } from 'yaml';

interface Schema {
  [key: string]: unknown;
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema | boolean;
}

interface CustomResourceDefinition {
  spec: {
    names: { kind: string };
    versions: { schema: { openAPIV3Schema: Schema } }[];
  };
}

const crdDirectory = fileURLToPath(new URL('../../manifests/crds/', import.meta.url));

/** Validators by kind. Each fills defaults into the value it is given and leaves its findings in `errors`. */
export function compileCrdSchemas(directory: string = crdDirectory): ReadonlyMap<string, ValidateFunction> {
  const ajv = new Ajv({
    allErrors: true,
    useDefaults: true,
    strict: false,
    verbose: true,
    formats: { int32: true, int64: true, 'date-time': true },
  });
  const validators = new Map<string, ValidateFunction>();
  for (const file of readdirSync(directory).sort()) {
    if (!file.endsWith('.yaml')) continue;
    const crd = parse(readFileSync(join(directory, file), 'utf8')) as CustomResourceDefinition;
    const schema = crd.spec.versions[0]?.schema.openAPIV3Schema;
    if (schema === undefined) throw new Error(`No schema in the custom resource definition "${file}"`);
    validators.set(crd.spec.names.kind, ajv.compile(toJsonSchema(schema)));
  }
  return validators;
}

/**
 * A structural schema is JSON Schema but for four things: unknown fields are dropped instead of refused, null counts
 * as absent (handled before validation), int-or-string is an extension, and CEL rules are not JSON Schema.
 */
function toJsonSchema(schema: Schema): Schema {
  const result: Schema = {};
  for (const [key, value] of Object.entries(schema)) {
    if (!key.startsWith('x-kubernetes-') && key !== 'description') result[key] = value;
  }
  if (schema.properties !== undefined) {
    result.properties = Object.fromEntries(
      Object.entries(schema.properties).map(([name, property]) => [name, toJsonSchema(property)]),
    );
    // The metadata of an object is checked apart, for all kinds alike.
    result.additionalProperties = false;
  }
  if (schema.items !== undefined) result.items = toJsonSchema(schema.items);
  if (typeof schema.additionalProperties === 'object') {
    result.additionalProperties = toJsonSchema(schema.additionalProperties);
  }
  const listType = schema['x-kubernetes-list-type'];
  if (listType === 'set') result['uniqueItems'] = true;
  return result;
}
