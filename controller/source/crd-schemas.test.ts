import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { resourceKinds } from '../resources/resource-kind.ts';
import { compileCrdSchemas } from './crd-schemas.ts';

interface Schema {
  [key: string]: unknown;
  description?: string;
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema;
}

const directory = fileURLToPath(new URL('../../manifests/crds/', import.meta.url));
const crds = readdirSync(directory).map((file) => {
  const crd = parse(readFileSync(directory + file, 'utf8'));
  return { file, crd, schema: crd.spec.versions[0].schema.openAPIV3Schema as Schema };
});

describe('manifests/crds', () => {
  it('holds one definition for each own kind', () => {
    const own = [...resourceKinds.values()]
      .filter(({ schema }) => schema === undefined)
      .map(({ kind }) => kind);
    expect([...compileCrdSchemas().keys()].sort()).toEqual(own.sort());
  });

  it.each(crds)('$file has the names, scope and versions Weft uses', ({ crd }) => {
    const { names, group, scope, versions } = crd.spec;
    expect(crd.metadata.name).toBe(`${names.plural}.${group}`);
    expect(names.categories).toEqual(['weft']);
    expect(names.shortNames.length).toBe(1);
    expect(versions[0].name).toBe('v1alpha1');
    expect(versions[0].subresources).toEqual({ status: {} });
    expect(scope === 'Namespaced').toBe(resourceKinds.get(names.kind)?.namespaced);
  });

  it.each(crds)('$file describes every field and bounds every list, map and text', ({ schema }) => {
    const faults: string[] = [];
    walk(schema, '', (node, path, isField) => {
      // What all objects have, and entries of lists and maps, need no description of their own.
      if (isField && node.description === undefined && path !== '.metadata' && !path.endsWith('conditions')) {
        if (!/\.(source|operation)$/.test(path) || node.properties === undefined)
          faults.push(`${path}: no description`);
      }
      if (path.startsWith('.spec')) faults.push(...unbounded(node).map((fault) => `${path}: ${fault}`));
    });
    expect(faults).toEqual([]);
  });

  it.each(crds)('$file is a structural schema', ({ schema }) => {
    const faults: string[] = [];
    walk(schema, '', (node, path) => {
      const intOrString = node['x-kubernetes-int-or-string'] === true;
      if (node.type === undefined && !intOrString) faults.push(`${path}: no type`);
      if (node.properties !== undefined && node.additionalProperties !== undefined)
        faults.push(`${path}: both`);
      for (const key of ['$ref', 'definitions', 'deprecated', 'uniqueItems']) {
        if (key in node) faults.push(`${path}: ${key}`);
      }
    });
    expect(faults).toEqual([]);
  });

  it('states every CEL rule the directory source checks, in the same words', () => {
    const source = ['./object-rules.ts', './traffic-policy-rules.ts']
      .map((file) => readFileSync(fileURLToPath(new URL(file, import.meta.url)), 'utf8'))
      .join('');
    const messages = crds.flatMap(({ schema }) => celMessages(schema));
    expect(messages.length).toBeGreaterThanOrEqual(12);
    const unknown = messages.filter(
      (message) => !source.includes(message) && !message.startsWith('Must be '),
    );
    // The name of an object is checked by translate, which says the same.
    expect(unknown).toEqual(['The mesh has one MeshConfig and its name is "default"']);
  });
});

function walk(
  node: Schema,
  path: string,
  visit: (node: Schema, path: string, isField: boolean) => void,
  isField = true,
): void {
  if (path !== '') visit(node, path, isField);
  for (const [name, inner] of Object.entries(node.properties ?? {})) walk(inner, `${path}.${name}`, visit);
  if (node.items !== undefined) walk(node.items, `${path}[]`, visit, false);
  if (typeof node.additionalProperties === 'object')
    walk(node.additionalProperties, `${path}{}`, visit, false);
}

function unbounded(node: Schema): string[] {
  const faults: string[] = [];
  if (node.type === 'array' && node['maxItems'] === undefined) faults.push('list without maxItems');
  if (node.additionalProperties !== undefined && node['maxProperties'] === undefined)
    faults.push('map without maxProperties');
  if (node.type === 'string' && node['maxLength'] === undefined && node['enum'] === undefined)
    faults.push('text without maxLength');
  if (node.type === 'integer' && (node['minimum'] === undefined || node['maximum'] === undefined))
    faults.push('number without range');
  return faults;
}

function celMessages(node: unknown): string[] {
  if (typeof node !== 'object' || node === null) return [];
  if (Array.isArray(node)) return node.flatMap(celMessages);
  const { 'x-kubernetes-validations': rules = [], ...rest } = node as {
    'x-kubernetes-validations'?: { message: string }[];
  };
  return [...rules.map(({ message }) => message), ...Object.values(rest).flatMap(celMessages)];
}
