// What is wrong with the input, where, and what to do about it: the one shape for syntax errors, schema errors,
// unreadable files and unknown kinds.

import type { ObjectReference } from '../resources/resources.ts';
import { formatReference } from '../resources/resources.ts';

export interface Problem {
  /** Path as it was found below the directory's own path. */
  readonly file: string;
  /** From 1; 0 if the whole file is meant. */
  readonly line: number;
  /** From 1; 0 if the whole file is meant. */
  readonly column: number;
  readonly object?: ObjectReference;
  /** For example `spec.rules[0].from`. */
  readonly field?: string;
  readonly message: string;
  readonly severity: 'error' | 'warning';
}

/** One step into an object: a field name or a position in a list. */
export type FieldPath = readonly (string | number)[];

/** `spec.rules[0].from`; names that are no plain identifiers are quoted: `metadata.labels["a/b"]`. */
export function formatFieldPath(path: FieldPath): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(step)) text += text === '' ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

/** `file:line:column: error: Pod shop/web: spec.nodeName: message`, the form editors and CI annotate. */
export function formatProblem(problem: Problem): string {
  const place = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file;
  const object = problem.object === undefined ? '' : `${formatReference(problem.object)}: `;
  const field = problem.field === undefined || problem.field === '' ? '' : `${problem.field}: `;
  return `${place}: ${problem.severity}: ${object}${field}${problem.message}`;
}

/** By file, then position, errors before warnings at one place. */
export function compareProblems(a: Problem, b: Problem): number {
  return (
    compareText(a.file, b.file) ||
    a.line - b.line ||
    a.column - b.column ||
    compareText(a.severity, b.severity) ||
    compareText(a.message, b.message)
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
