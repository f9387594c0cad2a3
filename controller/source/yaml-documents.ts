// Text to plain values with positions: multi-document YAML (JSON included), and for any path into a document the
// line and column it was written at. Knows nothing of kinds. Never throws: everything becomes documents and errors.

import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
} from 'yaml';
import type { FieldPath } from './problem.ts';

export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface YamlDocument {
  readonly value: unknown;
  readonly start: Position;
  /** Where the value at `path` is written; of the nearest parent if there is none. `key`: where its name is. */
  locate(path: FieldPath, of?: 'key' | 'value'): Position;
}

export interface YamlText {
  readonly documents: readonly YamlDocument[];
  readonly errors: readonly (Position & { readonly message: string })[];
}

/** Documents nested deeper than this are refused: nothing legitimate is, and the parser recurses. */
const maxDepth = 100;

/** Parses text of a size the caller has limited. Documents without content are left out. */
export function parseYamlText(text: string): YamlText {
  const counter = new LineCounter();
  const documents: YamlDocument[] = [];
  const errors: (Position & { message: string })[] = [];
  const deep = findDeepNesting(text);
  if (deep !== undefined) {
    return {
      documents,
      errors: [{ ...deep, message: `Nested deeper than ${maxDepth} levels: is this a manifest?` }],
    };
  }
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: counter,
      merge: true,
      prettyErrors: false,
      logLevel: 'silent',
    });
    for (const document of parsed as Iterable<Document.Parsed>) {
      for (const error of document.errors) {
        errors.push({ ...position(counter, error.pos[0]), message: sentence(error.message) });
      }
      if (document.errors.length === 0) addDocument(document, counter, documents, errors);
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    errors.push({ line: 1, column: 1, message: `Cannot parse the file: ${reason}` });
  }
  return { documents, errors };
}

function addDocument(
  document: Document.Parsed,
  counter: LineCounter,
  documents: YamlDocument[],
  errors: (Position & { message: string })[],
): void {
  const start = position(counter, document.contents?.range?.[0] ?? document.range[0]);
  try {
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    if (value === null || value === undefined) return;
    documents.push({
      value,
      start,
      locate: (path, of = 'value') => position(counter, findOffset(document, path, of) ?? document.range[0]),
    });
  } catch (error) {
    // Too many aliases ("billion laughs") or an alias without an anchor.
    errors.push({ ...start, message: sentence(error instanceof Error ? error.message : String(error)) });
  }
}

function findOffset(document: Document.Parsed, path: FieldPath, of: 'key' | 'value'): number | undefined {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0];
  for (const [index, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    let next: unknown;
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(step),
      );
      const key = pair?.key as Node | undefined;
      next = pair?.value ?? pair?.key;
      if (of === 'key' && index === path.length - 1) next = key;
    } else if (isSeq(node)) next = node.items[Number(step)];
    if (next === undefined || next === null) break;
    node = next;
    offset = (next as Node).range?.[0] ?? offset;
  }
  return offset;
}

function position(counter: LineCounter, offset: number): Position {
  const { line, col } = counter.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

/** One line, the first letter a capital, no full stop: as every message of ours. */
function sentence(message: string): string {
  const line = (message.split('\n')[0] ?? '').trim().replace(/[.:]$/, '');
  return line.charAt(0).toUpperCase() + line.slice(1);
}

/**
 * Finds text whose brackets or indentation exceed the depth limit, without parsing it. Brackets inside strings or
 * comments count too: a string with a hundred unclosed brackets in a row of lines is no manifest either, since the
 * count starts again at every line that begins at column one with a letter or a dash.
 */
function findDeepNesting(text: string): Position | undefined {
  let line = 1;
  let lineStart = 0;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 10) {
      line++;
      lineStart = i + 1;
      const next = text.charCodeAt(i + 1);
      if ((next >= 97 && next <= 122) || next === 45) depth = 0;
    } else if (code === 91 || code === 123) depth++;
    else if (code === 93 || code === 125) depth = Math.max(0, depth - 1);
    if (depth > maxDepth) return { line, column: i - lineStart + 1 };
  }
  return undefined;
}
