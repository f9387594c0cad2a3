// GRPCRoute matches by service and method. Precedence: characters of the service, then of the method (Gateway API); a
// regular expression comes after every exact name and before none, the longest pattern first, which the API leaves open.

import type { Candidate, RouteFacts } from './candidate.ts';
import { CandidateIndex } from './candidate-index.ts';
import type { Pattern } from './pattern.ts';

/** A service or a method; undefined matches any. */
export type GrpcName =
  | { readonly kind: 'exact'; readonly value: string }
  | { readonly kind: 'regex'; readonly value: string; readonly pattern: Pattern }
  | undefined;

export interface GrpcCandidate extends Candidate {
  readonly service: GrpcName;
  readonly procedure: GrpcName;
}

interface PatternEntry {
  readonly service: GrpcName;
  readonly procedure: GrpcName;
  readonly first: number;
  readonly index: CandidateIndex;
}

export function grpcRank(service: GrpcName, procedure: GrpcName): readonly number[] {
  return [...nameRank(service), ...nameRank(procedure)];
}

function nameRank(name: GrpcName): readonly [kind: number, length: number] {
  if (name === undefined) return [0, 0];
  return [name.kind === 'exact' ? 2 : 1, name.value.length];
}

/** A request of the gRPC protocol, gRPC-Web included. */
export function isGrpc(contentType: string | undefined): boolean {
  return contentType?.toLowerCase().startsWith('application/grpc') === true;
}

export class GrpcTable {
  /** By `/service/method`, `/service/`, `//method` and `//`: an empty name matches any. */
  readonly #exact: ReadonlyMap<string, CandidateIndex>;
  readonly #patterns: readonly PatternEntry[];

  /** `candidates` in order of precedence. */
  constructor(candidates: readonly GrpcCandidate[]) {
    const exact = candidates.filter((candidate) => !usesPattern(candidate));
    this.#exact = new Map(
      [...Map.groupBy(exact, key)].map(([name, list]) => [name, new CandidateIndex(list)]),
    );
    const regex = candidates.filter(usesPattern);
    this.#patterns = [...Map.groupBy(regex, key).values()].map((list) => {
      const [{ service, procedure, order }] = list as [GrpcCandidate];
      return { service, procedure, first: order, index: new CandidateIndex(list) };
    });
  }

  find(facts: RouteFacts): Candidate | undefined {
    const { path } = facts;
    const slash = path.indexOf('/', 1);
    const service = slash < 0 ? '' : path.slice(1, slash);
    const procedure = slash < 0 ? '' : path.slice(slash + 1);
    let best: Candidate | undefined;
    if (service !== '' && procedure !== '' && !procedure.includes('/')) {
      best = this.#exact.get(path)?.find(facts, best);
      best = this.#find(`/${service}/`, facts, best);
      best = this.#find(`//${procedure}`, facts, best);
      best = this.#findPattern({ service, procedure, facts }, best);
    }
    return this.#find('//', facts, best);
  }

  #find(name: string, facts: RouteFacts, best: Candidate | undefined): Candidate | undefined {
    const index = this.#exact.get(name);
    return index === undefined ? best : index.find(facts, best);
  }

  #findPattern(
    request: { service: string; procedure: string; facts: RouteFacts },
    best: Candidate | undefined,
  ): Candidate | undefined {
    let found = best;
    for (const entry of this.#patterns) {
      if (found !== undefined && entry.first > found.order) break;
      if (!nameMatches(entry.service, request.service)) continue;
      if (nameMatches(entry.procedure, request.procedure)) found = entry.index.find(request.facts, found);
    }
    return found;
  }
}

function nameMatches(name: GrpcName, value: string): boolean {
  if (name === undefined) return true;
  return name.kind === 'exact' ? name.value === value : name.pattern.matches(value);
}

function usesPattern({ service, procedure }: GrpcCandidate): boolean {
  return service?.kind === 'regex' || procedure?.kind === 'regex';
}

/** Patterns may hold slashes, so theirs are told apart by a character no name has. */
function key(candidate: GrpcCandidate): string {
  const { service, procedure } = candidate;
  return usesPattern(candidate)
    ? `${service?.kind}\n${service?.value}\n${procedure?.kind}\n${procedure?.value}`
    : `/${service?.value ?? ''}/${procedure?.value ?? ''}`;
}
