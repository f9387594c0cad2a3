// Which rule takes a request: the most specific match by the Gateway API's precedence (HTTPRouteRule.matches and
// GRPCRouteRule.matches), ties by list order. Compiled once a configuration; matching is near constant in the number of
// rules and allocates next to nothing. GRPCRoutes win a port over HTTPRoutes as a whole (GEP-1294, Route types).

import { pathEnd } from '../../mesh/http/path.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { GrpcMethodMatch, HttpMatch, HttpRule, RouteName, RouteSet } from '../../mesh/model/routing.ts';
import {
  type Candidate,
  compileConditions,
  fieldValue,
  orderCandidates,
  requirePattern,
  type RouteFacts,
  type RouteMatch,
} from './candidate.ts';
import { type GrpcCandidate, type GrpcName, GrpcTable, grpcRank, isGrpc } from './grpc-table.ts';
import {
  cookiePath,
  normalPathValue,
  type PathCandidate,
  type PathKey,
  pathRank,
  PathTable,
} from './path-table.ts';
import { PatternCompiler, type PatternEffort } from './pattern.ts';
import { WeightedChoice } from './weighted-choice.ts';

export type { RouteMatch } from './candidate.ts';

/** A match that takes no requests, and why. */
export interface RouteProblem {
  readonly rule: RouteName;
  readonly reason: string;
}

export interface CompiledRoutes {
  /** Whether routes are attached; without any, requests go to the service itself, else 404 if none matches. */
  readonly hasRules: boolean;
  readonly problems: readonly RouteProblem[];
  /**
   * `head.path` must have been through `normalizeTarget`. The answer is shared, not made for the request. None also if the
   * regular expressions would have to read too much (8 KB of one field): such a request is not routed past their rules.
   */
  match(head: RequestHead): RouteMatch | undefined;
}

export interface CompileOptions {
  /** Uniform in [0, 1); where weighted choices begin. */
  readonly random?: () => number;
}

const anyRequest: HttpMatch = { path: undefined, method: undefined, headers: [], query: [], grpc: undefined };

/** Never throws: what can not be compiled never matches and is listed in `problems`. */
export function compileRoutes(routes: RouteSet, options: CompileOptions = {}): CompiledRoutes {
  const builder = new RouteBuilder(options.random ?? Math.random);
  const hasGrpc = routes.http.some(({ name }) => name.kind === 'GRPCRoute');
  for (const rule of routes.http) {
    if (hasGrpc && rule.name.kind !== 'GRPCRoute') {
      builder.problems.push({ rule: rule.name, reason: 'A GRPCRoute on the same port takes precedence' });
    } else builder.add(rule);
  }
  builder.patterns.finish();
  return new Router({
    table: hasGrpc
      ? new GrpcTable(orderCandidates(builder.grpc))
      : new PathTable(orderCandidates(builder.http)),
    problems: builder.problems,
    effort: builder.patterns.effort,
    grpcOnly: hasGrpc,
    hasRules: routes.http.length > 0,
  });
}

interface RouterParts {
  readonly table: { find(facts: RouteFacts): Candidate | undefined };
  readonly problems: readonly RouteProblem[];
  readonly effort: PatternEffort;
  readonly grpcOnly: boolean;
  readonly hasRules: boolean;
}

class Router implements CompiledRoutes {
  readonly #parts: RouterParts;
  readonly #facts: RouteFacts = { method: '', authority: '', headers: [], path: '', query: '' };

  constructor(parts: RouterParts) {
    this.#parts = parts;
  }

  get hasRules(): boolean {
    return this.#parts.hasRules;
  }

  get problems(): readonly RouteProblem[] {
    return this.#parts.problems;
  }

  match(head: RequestHead): RouteMatch | undefined {
    const facts = this.#facts;
    const end = pathEnd(head.path);
    facts.method = head.method;
    facts.authority = head.authority;
    facts.headers = head.headers;
    facts.path = end === head.path.length ? head.path : head.path.slice(0, end);
    facts.query = end === head.path.length ? '' : head.path.slice(end + 1);
    const { table, effort, grpcOnly } = this.#parts;
    if (grpcOnly && !isGrpc(fieldValue(facts, 'content-type'))) return undefined;
    effort.reset();
    const found = table.find(facts);
    return effort.exceeded ? undefined : found?.match;
  }
}

/** Turns rules into candidates; each match of a rule is one. */
class RouteBuilder {
  readonly problems: RouteProblem[] = [];
  readonly patterns = new PatternCompiler();
  readonly http: PathCandidate[] = [];
  readonly grpc: GrpcCandidate[] = [];
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  add(rule: HttpRule): void {
    const weights = rule.backends.map(({ weight }) => weight);
    const choice = new WeightedChoice(weights, { random: this.#random });
    for (const match of rule.matches.length === 0 ? [anyRequest] : rule.matches) {
      try {
        if (rule.name.kind === 'GRPCRoute')
          this.#addGrpc(match, { rule, matchedPrefix: undefined, cookiePath: '/', choice });
        else this.#addHttp(match, { rule, choice });
      } catch (error) {
        this.problems.push({
          rule: rule.name,
          reason: error instanceof Error ? error.message : String(error),
        });
      }
    }
  }

  #addHttp(match: HttpMatch, target: Pick<RouteMatch, 'rule' | 'choice'>): void {
    const path = this.#pathKey(match.path);
    const conditions = this.#conditions(match);
    this.http.push({
      match: {
        ...target,
        matchedPrefix: path.kind === 'prefix' ? path.value : undefined,
        cookiePath: cookiePath(path),
      },
      rank: [
        ...pathRank(path),
        match.method === undefined ? 0 : 1,
        conditions.headers.length,
        conditions.query.length,
      ],
      order: 0,
      path,
      method: match.method,
      ...conditions,
    });
  }

  #addGrpc(match: HttpMatch, target: RouteMatch): void {
    const service = this.#grpcName(match.grpc, 'service');
    const procedure = this.#grpcName(match.grpc, 'method');
    const conditions = this.#conditions(match);
    const rank = [...grpcRank(service, procedure), conditions.headers.length, conditions.query.length];
    this.grpc.push({
      match: target,
      rank,
      order: 0,
      service,
      procedure,
      method: match.method,
      ...conditions,
    });
  }

  #conditions(match: HttpMatch): Pick<Candidate, 'headers' | 'query'> {
    const { patterns } = this;
    return {
      headers: compileConditions(match.headers, { patterns, caseless: true }),
      query: compileConditions(match.query, { patterns, caseless: false }),
    };
  }

  #pathKey(path: HttpMatch['path']): PathKey {
    const value = normalPathValue(path);
    if (path?.kind !== 'regex') return { kind: path?.kind ?? 'prefix', value };
    return { kind: 'regex', value, pattern: requirePattern(value, this.patterns) };
  }

  #grpcName(match: GrpcMethodMatch | undefined, part: 'service' | 'method'): GrpcName {
    const value = match?.[part];
    if (match === undefined || value === undefined || value === '') return undefined;
    if (match.kind === 'exact') return { kind: 'exact', value };
    return { kind: 'regex', value, pattern: requirePattern(value, this.patterns) };
  }
}
