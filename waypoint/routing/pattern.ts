// Regular expressions of routes: RE2 syntax, run in linear time, anchored at both ends as the Gateway API's matches are.
// Users write them and clients choose the text, so the size of a program, the memory of its automaton, the length of a
// text and the work of compiling are all bounded. The built-in engine never sees a user's pattern.

import { RE2JS } from 're2js';

/** Characters of a pattern; the API allows 4096 for a header. */
const maxPatternLength = 4_096;
/** Instructions of one program; Istio allows Envoy 1024. A step of the automaton may cost as many. */
const maxProgramSize = 1_024;
/** Instructions all patterns of a route set may cost to compile, refused ones included; about one second at worst. */
const compileBudget = 2_000_000;
/** Different patterns of a route set. */
const maxPatterns = 1_000;
/** Characters of a text; as long as the request lines that servers commonly accept. */
const maxTextLength = 8_192;
/** Steps times characters that one request may cost; some 80 ms at the very worst, when no state is cached. */
const maxEffort = 16_000_000;
/** Bytes that the automata of a route set may cache; each pattern has a share within the bounds below. */
const cacheBytes = 4 * 1024 * 1024;
const minCacheBytes = 16 * 1024;
const maxCacheBytes = 256 * 1024;

/**
 * What the patterns of a route set cost the request that is being matched. A request that asks too much must not be routed
 * at all: if its pattern merely did not match, a long text would be a way around the rule.
 */
export class PatternEffort {
  #left = maxEffort;

  get exceeded(): boolean {
    return this.#left < 0;
  }

  /** A request begins. */
  reset(): void {
    this.#left = maxEffort;
  }

  /** Whether a program of `steps` may run over a text of `length`. */
  spend(steps: number, length: number): boolean {
    this.#left = length > maxTextLength ? -1 : this.#left - steps * length;
    return this.#left >= 0;
  }
}

export class Pattern {
  readonly #program: RE2JS;
  readonly #steps: number;
  readonly #effort: PatternEffort;
  /** What every match begins with. */
  readonly #literal: string;

  constructor(source: string, program: RE2JS, effort: PatternEffort) {
    this.#program = program;
    this.#steps = program.programSize();
    this.#literal = literalPrefix(source);
    this.#effort = effort;
  }

  /** Whether all of `text` matches; its octets are read as UTF-8. Meaningless once the effort is exceeded. */
  matches(text: string): boolean {
    if (!text.startsWith(this.#literal) || !this.#effort.spend(this.#steps, text.length)) return false;
    return this.#program.testExact(fromOctets(text));
  }

  /** Bounds the cached states; the library's own default of 8 MB a pattern is too much for a client to fill. */
  limitCache(bytes: number): void {
    const { dfa } = this.#program.re2();
    dfa.stateBudget = bytes;
    dfa.memBudget = bytes;
  }
}

/** Compiles the patterns of one route set, each different one once. */
export class PatternCompiler {
  /** Of all its patterns. */
  readonly effort = new PatternEffort();
  readonly #compiled = new Map<string, Pattern | Error>();
  #spent = 0;

  /** The pattern, or an Error saying why it can not be used. */
  compile(source: string): Pattern | Error {
    const known = this.#compiled.get(source);
    if (known !== undefined) return known;
    if (this.#compiled.size >= maxPatterns) {
      return new Error(`More than ${maxPatterns} regular expressions on one port of a service`);
    }
    const compiled = this.#compile(source);
    this.#compiled.set(source, compiled);
    return compiled;
  }

  /** Divides the memory among the patterns; to be called when all are compiled. */
  finish(): void {
    const share = Math.floor(cacheBytes / Math.max(1, this.#compiled.size));
    const bytes = Math.min(maxCacheBytes, Math.max(minCacheBytes, share));
    for (const pattern of this.#compiled.values()) if (pattern instanceof Pattern) pattern.limitCache(bytes);
  }

  #compile(source: string): Pattern | Error {
    if (source.length > maxPatternLength) {
      return new Error(`Regular expression of ${source.length} characters; at most ${maxPatternLength}`);
    }
    if (this.#spent > compileBudget) return new Error('The regular expressions of this port are too large');
    try {
      const program = RE2JS.compile(source);
      const size = program.programSize();
      this.#spent += size;
      if (size > maxProgramSize) {
        return new Error(
          `Regular expression "${source}" compiles to ${size} steps; at most ${maxProgramSize}`,
        );
      }
      return new Pattern(source, program, this.effort);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return new Error(`Regular expression "${source}" is not RE2 syntax: ${reason}`);
    }
  }
}

/** The ASCII text every match of `source` begins with; `''` when in doubt. */
export function literalPrefix(source: string): string {
  if (source.includes('|') || source.includes('(?')) return '';
  const end = source.search(/[^A-Za-z0-9/_~:@!%&=,;'" -]/);
  if (end < 0) return source;
  // A quantifier makes the character before it optional.
  return source.slice(0, '?*{'.includes(source[end] as string) ? Math.max(0, end - 1) : end);
}

const beyondAscii = /[\u0080-\uffff]/;

/** Text of the configuration as the octets of its UTF-8 form, which is how requests hold it. */
export function toOctets(text: string): string {
  return beyondAscii.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text;
}

function fromOctets(text: string): string {
  return beyondAscii.test(text) ? Buffer.from(text, 'latin1').toString('utf8') : text;
}
