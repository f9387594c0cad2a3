// The L7 part of one match, compiled. Whoever sends a header twice must gain nothing by it: where a rule admits (ALLOW)
// every field line must fit and no line may be an exception, where it refuses or reports (DENY, AUDIT) one line that
// fits is enough, and it is an exception only if every line is.

import type { AuthorizationPolicy, HttpMatchConditions, NamedCondition } from '../model/authorization.ts';
import { claimTexts } from './claim-texts.ts';
import type { HttpFacts } from './http-facts.ts';
import { type StringMatcher, stringMatcher } from './string-matcher.ts';

type Action = AuthorizationPolicy['action'];
type ClaimCondition = HttpMatchConditions['claims'][number];

export class HttpMatcher {
  readonly #hosts: StringMatcher | undefined;
  readonly #notHosts: StringMatcher | undefined;
  readonly #methods: StringMatcher | undefined;
  readonly #notMethods: StringMatcher | undefined;
  readonly #paths: StringMatcher | undefined;
  readonly #notPaths: StringMatcher | undefined;
  readonly #principals: StringMatcher | undefined;
  readonly #notPrincipals: StringMatcher | undefined;
  readonly #headers: readonly HeaderMatcher[];
  readonly #claims: readonly ClaimMatcher[];

  constructor(conditions: HttpMatchConditions, action: Action) {
    this.#hosts = stringMatcher(conditions.hosts);
    this.#notHosts = stringMatcher(conditions.notHosts);
    this.#methods = stringMatcher(conditions.methods);
    this.#notMethods = stringMatcher(conditions.notMethods);
    this.#paths = stringMatcher(conditions.paths);
    this.#notPaths = stringMatcher(conditions.notPaths);
    this.#principals = stringMatcher(conditions.requestPrincipals);
    this.#notPrincipals = stringMatcher(conditions.notRequestPrincipals);
    this.#headers = conditions.headers.map((condition) => new HeaderMatcher(condition, action));
    this.#claims = conditions.claims.map((condition) => new ClaimMatcher(condition));
  }

  accepts(facts: HttpFacts): boolean {
    return (
      fits(this.#methods, this.#notMethods, facts.method) &&
      this.#acceptsPath(facts) &&
      this.#acceptsHost(facts) &&
      fits(this.#principals, this.#notPrincipals, facts.requestPrincipal) &&
      this.#headers.every((header) => header.accepts(facts.headers(header.name))) &&
      this.#claims.every((claim) => claim.accepts(facts))
    );
  }

  /** Path and host are computed only if a rule asks. */
  #acceptsPath(facts: HttpFacts): boolean {
    if (this.#paths === undefined && this.#notPaths === undefined) return true;
    return fits(this.#paths, this.#notPaths, facts.path);
  }

  #acceptsHost(facts: HttpFacts): boolean {
    if (this.#hosts === undefined && this.#notHosts === undefined) return true;
    return fits(this.#hosts, this.#notHosts, facts.host);
  }
}

function fits(positive: StringMatcher | undefined, negative: StringMatcher | undefined, text: string) {
  return positive?.accepts(text) !== false && negative?.accepts(text) !== true;
}

class HeaderMatcher {
  readonly name: string;
  readonly #values: StringMatcher | undefined;
  readonly #notValues: StringMatcher | undefined;
  readonly #admits: boolean;

  constructor(condition: NamedCondition, action: Action) {
    this.name = condition.name;
    this.#values = stringMatcher(condition.values);
    this.#notValues = stringMatcher(condition.notValues);
    this.#admits = action === 'allow';
  }

  accepts(lines: readonly string[]): boolean {
    if (this.#values !== undefined && !this.#hit(this.#values, lines, this.#admits)) return false;
    return this.#notValues === undefined || !this.#hit(this.#notValues, lines, !this.#admits);
  }

  /** A header that is not there hits nothing. */
  #hit(matcher: StringMatcher, lines: readonly string[], all: boolean): boolean {
    if (lines.length === 0) return false;
    // A field that is there without a value is present as far as refusing goes.
    if (!all && matcher.presence) return true;
    for (const line of lines) {
      if (matcher.accepts(line) !== all) return !all;
    }
    return all;
  }
}

/** A list matches by any member; what a token says is not its bearer's to choose. */
class ClaimMatcher {
  readonly #path: readonly string[];
  readonly #values: StringMatcher | undefined;
  readonly #notValues: StringMatcher | undefined;

  constructor({ path, values, notValues }: ClaimCondition) {
    this.#path = path;
    this.#values = stringMatcher(values);
    this.#notValues = stringMatcher(notValues);
  }

  accepts({ claims }: HttpFacts): boolean {
    const texts = claimTexts(claims, this.#path);
    const { presence } = this.#values ?? { presence: false };
    const positive = this.#values;
    if (positive !== undefined && !(presence && texts.length > 0)) {
      if (!texts.some((text) => positive.accepts(text))) return false;
    }
    const negative = this.#notValues;
    return negative === undefined || !texts.some((text) => negative.presence || negative.accepts(text));
  }
}
