// One parsed object to its typed, trimmed form, or to issues with the path of each. Core kinds go through zod
// subsets, own kinds through the schema of their CRD; metadata is checked alike for all.

import type { ErrorObject, ValidateFunction } from 'ajv';
import type { z } from 'zod';
import { isValidServiceName } from '../resources/core-kinds.ts';
import { type ObjectMeta, objectMetaSchema, trimObjectMeta } from '../resources/object-meta.ts';
import type { ResourceKind } from '../resources/resource-kind.ts';
import type { ObjectReference, TypedObject } from '../resources/resources.ts';
import { compileCrdSchemas } from './crd-schemas.ts';
import { nearestWord } from './nearest-word.ts';
import { brokenRules } from './object-rules.ts';
import type { FieldPath } from './problem.ts';

export interface Issue {
  readonly path: FieldPath;
  /** Whether the name of the field or its value is at fault. */
  readonly of?: 'key' | 'value';
  readonly message: string;
}

export interface Validated {
  /** Present as soon as kind, namespace and name could be read. */
  readonly reference?: ObjectReference;
  readonly typed?: TypedObject;
  readonly issues: readonly Issue[];
}

let crdValidators: ReadonlyMap<string, ValidateFunction> | undefined;

/** Validates `value`, whose apiVersion and kind were already matched to `kind`. Never throws. */
export function validateObject(kind: ResourceKind, value: Record<string, unknown>): Validated {
  const meta = objectMetaSchema.safeParse(dropNulls(value['metadata'] ?? {}));
  if (!meta.success) return { issues: zodIssues(meta.error, ['metadata']), ...partialReference(kind, value) };
  const metadata = trimObjectMeta(meta.data, kind.namespaced);
  const reference = { kind: kind.kind, namespace: metadata.namespace, name: metadata.name };
  const result =
    kind.schema === undefined ? validateOwn(kind, value) : validateCore(kind, kind.schema, value);
  const issues = [...nameIssues(reference), ...result.issues];
  if (issues.length > 0) return { reference, issues };
  const object = { ...(result.body as object), metadata: metadata satisfies ObjectMeta };
  return { reference, typed: { kind: kind.kind, object } as TypedObject, issues };
}

/** The name of an object whose metadata is partly wrong, if name and namespace are right. */
function partialReference(
  kind: ResourceKind,
  value: Record<string, unknown>,
): { reference?: ObjectReference } {
  const { name, namespace } = (value['metadata'] ?? {}) as { name?: unknown; namespace?: unknown };
  const parsed = objectMetaSchema.pick({ name: true, namespace: true }).safeParse({ name, namespace });
  if (!parsed.success) return {};
  const namespaced = kind.namespaced ? (parsed.data.namespace ?? 'default') : '';
  return { reference: { kind: kind.kind, namespace: namespaced, name: parsed.data.name } };
}

function nameIssues(reference: ObjectReference): Issue[] {
  const strict = reference.kind === 'Service' || reference.kind === 'Namespace';
  if (!strict || isValidServiceName(reference.name)) return [];
  return [
    {
      path: ['metadata', 'name'],
      message: `The name of a ${reference.kind} has at most 63 lower case letters, digits and "-", got "${clip(reference.name)}"`,
    },
  ];
}

interface Body {
  readonly body?: unknown;
  readonly issues: readonly Issue[];
}

function validateCore(kind: ResourceKind, schema: z.ZodType, value: Record<string, unknown>): Body {
  const result = schema.safeParse(dropNulls(value));
  if (!result.success) return { issues: zodIssues(result.error, []) };
  return { body: { ...(result.data as object) }, issues: misspeltTopLevel(kind, value) };
}

/** Core objects may hold anything; only a misspelt `spec` or `metadata` is certain to be a mistake. */
function misspeltTopLevel(kind: ResourceKind, value: Record<string, unknown>): Issue[] {
  const known = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];
  if (kind.kind === 'EndpointSlice') known.push('addressType', 'endpoints', 'ports');
  if (kind.kind === 'ServiceAccount')
    known.push('secrets', 'imagePullSecrets', 'automountServiceAccountToken');
  return Object.keys(value)
    .filter((key) => !known.includes(key))
    .map((key) => ({ path: [key], of: 'key' as const, message: unknownField(key, known) }));
}

function zodIssues(error: z.ZodError, at: FieldPath): Issue[] {
  return error.issues.map((issue) => {
    const path = [...at, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))];
    const text = issue.message.replace(
      /^Invalid input: expected (\w+), received undefined$/,
      'Missing: expected $1',
    );
    return { path, message: hint(text) };
  });
}

/** zod says what it got; a number where text is wanted nearly always lacks quotes. */
function hint(message: string): string {
  const unquoted = /expected string, received (number|boolean|Date)/.test(message);
  const text = capital(message);
  return unquoted ? `${text} (put the value in quotes)` : text;
}

function validateOwn(kind: ResourceKind, value: Record<string, unknown>): Body {
  crdValidators ??= compileCrdSchemas();
  const validate = crdValidators.get(kind.kind);
  if (validate === undefined)
    throw new Error(`No custom resource definition for "${kind.kind}" in manifests/crds`);
  const { metadata: _metadata, status: _status, ...rest } = dropNulls(value) as Record<string, unknown>;
  const body = structuredClone(rest);
  if (!validate(body)) return { issues: ajvIssues(validate.errors ?? []) };
  const issues = brokenRules(kind.kind, body);
  return { body: { spec: body['spec'] }, issues };
}

function ajvIssues(errors: readonly ErrorObject[]): Issue[] {
  const issues: Issue[] = [];
  for (const error of errors) {
    const path = error.instancePath
      .split('/')
      .slice(1)
      .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
      .map((step) => (/^\d+$/.test(step) ? Number(step) : step));
    // The branches of int-or-string repeat what the anyOf itself says.
    if (/\/anyOf\/\d+\/type$/.test(error.schemaPath)) continue;
    issues.push(describe(error, path));
  }
  return issues;
}

function describe(error: ErrorObject, path: FieldPath): Issue {
  const params = error.params as Record<string, unknown>;
  switch (error.keyword) {
    case 'additionalProperties': {
      const name = String(params['additionalProperty']);
      const known = Object.keys((error.parentSchema?.['properties'] as object | undefined) ?? {});
      return { path: [...path, name], of: 'key', message: unknownField(name, known) };
    }
    case 'required':
      return {
        path: [...path, String(params['missingProperty'])],
        message: 'Missing: this field is required',
      };
    case 'enum': {
      const allowed = (params['allowedValues'] as unknown[]).map(String);
      const near = typeof error.data === 'string' ? nearestWord(error.data, allowed) : undefined;
      const meant = near === undefined ? '' : `, did you mean "${near}"?`;
      return { path, message: `Must be one of ${allowed.join(', ')}, got ${show(error.data)}${meant}` };
    }
    case 'anyOf':
      return { path, message: `Must be a number or a text, got ${show(error.data)}` };
    case 'type': {
      const quotes =
        params['type'] === 'string' && typeof error.data !== 'object' ? ' (put the value in quotes)' : '';
      return { path, message: `Must be of type ${String(params['type'])}, got ${show(error.data)}${quotes}` };
    }
    case 'minItems':
    case 'minProperties':
    case 'minLength':
      return { path, message: 'Must not be empty' };
    case 'minimum':
    case 'maximum':
    case 'pattern':
      return { path, message: `${expected(error)}, got ${show(error.data)}` };
    default:
      return { path, message: `${(error.message ?? 'Invalid').replace(/^m/, 'M')}, got ${show(error.data)}` };
  }
}

/** What a number or a text should be, in words where the pattern alone would say little. */
function expected({ parentSchema, message }: ErrorObject): string {
  const { minimum, maximum, pattern } = (parentSchema ?? {}) as {
    minimum?: number;
    maximum?: number;
    pattern?: string;
  };
  if (maximum === 65535) return 'Must be a port from 1 to 65535';
  if (minimum !== undefined && maximum !== undefined) return `Must be from ${minimum} to ${maximum}`;
  if (pattern?.includes('(h|m|s|ms)')) return 'Must be a duration such as 5s, 500ms or 1h30m';
  if (pattern?.includes('(\\*\\.)?')) return 'Must be a DNS name in lower case, "*." in front at most';
  return capital(message ?? 'Invalid');
}

function unknownField(name: string, known: readonly string[]): string {
  const near = nearestWord(name, known);
  const advice = near === undefined ? `known here are ${known.join(', ')}` : `did you mean "${near}"?`;
  return `Unknown field "${clip(name)}": ${advice}`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function show(value: unknown): string {
  if (typeof value === 'string') return `"${clip(value)}"`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  return String(value);
}

function clip(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

/** As on an API server, a field with the value null counts as absent. The input is not changed. */
function dropNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dropNulls);
  if (typeof value !== 'object' || value === null) return value;
  const result: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    if (inner !== null)
      Object.defineProperty(result, key, {
        value: dropNulls(inner),
        enumerable: true,
        writable: true,
        configurable: true,
      });
  }
  return result;
}
