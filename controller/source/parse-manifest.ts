// One file's text to typed objects and problems. Every document is judged alone: a broken one is reported with its
// place and never hurts its neighbours. What the last good version of a broken object was is the caller's business.

import {
  groupOf,
  ignoredKinds,
  ownApiVersion,
  type ResourceKind,
  resourceKinds,
  versionsOf,
} from '../resources/resource-kind.ts';
import type { KindName, ObjectReference, TypedObject } from '../resources/resources.ts';
import { misspeltFields } from './misspelt-fields.ts';
import { nearestWord } from './nearest-word.ts';
import { type FieldPath, formatFieldPath, type Problem } from './problem.ts';
import { validateObject } from './validate-object.ts';
import { parseYamlText, type Position, type YamlDocument } from './yaml-documents.ts';

export interface ParsedObject {
  readonly reference: ObjectReference;
  readonly typed: TypedObject;
  readonly position: Position;
  /** Position of a field, for statuses that name one. Keeps the parsed document alive. */
  locate(path: FieldPath): Position;
}

export interface ParsedManifest {
  readonly objects: readonly ParsedObject[];
  readonly problems: readonly Problem[];
  /** Objects that are there but not usable; their last good version stays in force. */
  readonly broken: readonly ObjectReference[];
  /** True if it is not known which objects the broken parts were: everything of the file's last version stays. */
  readonly unidentified: boolean;
}

interface Collector {
  readonly file: string;
  readonly objects: ParsedObject[];
  readonly problems: Problem[];
  readonly broken: ObjectReference[];
  unidentified: boolean;
}

/** Parses the text of `file`; the name is only used in problems. */
export function parseManifest(text: string, file: string): ParsedManifest {
  const result: Collector = { file, objects: [], problems: [], broken: [], unidentified: false };
  const { documents, errors } = parseYamlText(text);
  for (const error of errors) {
    result.unidentified = true;
    const { line, column, message } = error;
    result.problems.push({ file, line, column, message, severity: 'error' });
  }
  for (const document of documents) addValue(result, { document, value: document.value, at: [] });
  return result;
}

interface Located {
  readonly document: YamlDocument;
  readonly value: unknown;
  /** Path of the value in its document: empty but for items of a List. */
  readonly at: FieldPath;
}

function addValue(result: Collector, located: Located): void {
  const { value } = located;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    result.unidentified = true;
    report(result, located, { message: 'Not an object: expected apiVersion, kind and metadata' });
    return;
  }
  const { apiVersion, kind } = value as { apiVersion?: unknown; kind?: unknown };
  if (typeof kind !== 'string' || typeof apiVersion !== 'string') {
    const missing = typeof kind === 'string' ? 'apiVersion' : 'kind';
    result.unidentified = true;
    report(result, located, {
      path: [missing],
      message: `Missing: every object needs "${missing}"`,
    });
    return;
  }
  if (kind === 'List' && apiVersion === 'v1') addList(result, located);
  else addObject(result, located, { apiVersion, kind });
}

function addList(result: Collector, located: Located): void {
  const { items } = located.value as { items?: unknown };
  if (!Array.isArray(items)) {
    result.unidentified = true;
    report(result, located, { path: ['items'], message: 'Must be a list of objects' });
    return;
  }
  for (const [index, value] of items.entries()) {
    addValue(result, { document: located.document, value, at: [...located.at, 'items', index] });
  }
}

function addObject(result: Collector, located: Located, type: { apiVersion: string; kind: string }): void {
  const kind = findKind(result, located, type);
  if (kind === undefined) return;
  const { reference, typed, issues } = validateObject(kind, located.value as Record<string, unknown>);
  for (const issue of issues) {
    report(result, located, { ...issue, ...(reference === undefined ? {} : { object: reference }) });
  }
  if (typed === undefined) {
    if (reference === undefined) result.unidentified = true;
    else result.broken.push(reference);
    return;
  }
  for (const field of misspeltFields(kind, located.value as Record<string, unknown>)) {
    report(result, located, { ...field, severity: 'warning', object: reference as ObjectReference });
  }
  result.objects.push({
    reference: reference as ObjectReference,
    typed,
    position: located.document.locate(located.at),
    locate: (path) => located.document.locate([...located.at, ...path]),
  });
}

/** The kind, if the mesh reads it; a kind that looks like a slip of the pen gets a warning. */
function findKind(
  result: Collector,
  located: Located,
  { apiVersion, kind }: { apiVersion: string; kind: string },
): ResourceKind | undefined {
  const known = resourceKinds.get(kind);
  if (known !== undefined && isReadAs(known, apiVersion)) return known;
  if (apiVersion === ownApiVersion || apiVersion.startsWith('weft.dev/') || known !== undefined) {
    reportWrongType(result, located, { apiVersion, kind, known });
    return undefined;
  }
  if (ignoredKinds.has(kind)) return undefined;
  const near = nearestWord(kind, [...resourceKinds.keys(), ...ignoredKinds]);
  const hint = near === undefined ? 'the mesh does not read it' : `did you mean "${near}"?`;
  report(result, located, {
    path: ['kind'],
    message: `Unknown kind "${kind}" of "${apiVersion}": ${hint}`,
    severity: 'warning',
  });
  return undefined;
}

function isReadAs(kind: ResourceKind, apiVersion: string): boolean {
  const group = groupOf(kind.apiVersion);
  return versionsOf(kind).some((version) => apiVersion === (group === '' ? version : `${group}/${version}`));
}

function reportWrongType(
  result: Collector,
  located: Located,
  { apiVersion, kind, known }: { apiVersion: string; kind: string; known: ResourceKind | undefined },
): void {
  if (known === undefined) {
    const own = [...resourceKinds.values()].filter((other) => other.apiVersion === ownApiVersion);
    const near = nearestWord(
      kind,
      own.map((other) => other.kind),
    );
    const hint =
      near === undefined
        ? `known are ${own.map((other) => other.kind).join(', ')}`
        : `did you mean "${near}"?`;
    report(result, located, {
      path: ['kind'],
      message: `Unknown kind "${kind}" of "${apiVersion}": ${hint}`,
    });
    // A policy under a misspelt kind stays in force in its last good version.
    result.unidentified = true;
    return;
  }
  // Another project's kind of the same name (Istio has an AuthorizationPolicy, too) is not ours to judge.
  const foreign =
    groupOf(apiVersion) !== groupOf(known.apiVersion) &&
    nearestWord(apiVersion, [known.apiVersion]) === undefined;
  report(result, located, {
    path: ['apiVersion'],
    message: foreign
      ? `Ignored: the mesh reads ${kind} of "${known.apiVersion}", not of "${apiVersion}"`
      : `Unknown version "${apiVersion}" of ${kind}: use "${known.apiVersion}"`,
    severity: foreign ? 'warning' : 'error',
  });
  if (!foreign) result.unidentified = true;
}

interface Report {
  readonly path?: FieldPath;
  readonly of?: 'key' | 'value';
  readonly message: string;
  readonly severity?: 'error' | 'warning';
  readonly object?: ObjectReference;
}

function report(
  result: Collector,
  located: Located,
  { path = [], of = 'value', message, severity, object }: Report,
): void {
  result.problems.push({
    file: result.file,
    ...located.document.locate([...located.at, ...path], of),
    ...(object === undefined ? {} : { object }),
    ...(path.length === 0 ? {} : { field: formatFieldPath(path) }),
    message,
    severity: severity ?? 'error',
  });
}

/** A key that is unique over all kinds. */
export function referenceKey(reference: { kind: KindName; namespace: string; name: string }): string {
  return `${reference.kind}/${reference.namespace}/${reference.name}`;
}
