// Whether a regular expression of a route can be used: RE2 syntax (linear time), of a size that a waypoint takes
// (waypoint/routing/pattern.ts has the same bounds). Routes are translated at every change, so answers are kept.

import { RE2JS } from 're2js';

/** Instructions of one program; Istio allows Envoy as many. */
const maxProgramSize = 1_024;
const maxPatternLength = 4_096;
/** Beyond this many different patterns the oldest answer is asked for again. */
const maxKept = 10_000;

const kept = new Map<string, string | undefined>();

/** What is wrong with it; undefined if nothing is. */
export function patternFault(source: string): string | undefined {
  if (kept.has(source)) return kept.get(source);
  const fault = check(source);
  const [oldest] = kept.size >= maxKept ? kept.keys() : [];
  if (oldest !== undefined) kept.delete(oldest);
  kept.set(source, fault);
  return fault;
}

function check(source: string): string | undefined {
  if (source.length > maxPatternLength)
    return `The regular expression has ${source.length} characters, at most ${maxPatternLength} are taken`;
  try {
    const size = RE2JS.compile(source).programSize();
    if (size <= maxProgramSize) return undefined;
    return `The regular expression compiles to ${size} steps, at most ${maxProgramSize} are taken`;
  } catch (error) {
    const reason =
      error instanceof Error ? error.message.replace(/^error parsing regexp: /, '') : String(error);
    return `The regular expression is no RE2 syntax: ${reason}`;
  }
}
