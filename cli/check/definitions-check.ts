// Whether the cluster has the definitions of our kinds, as this version has them.

import { isDeepStrictEqual } from 'node:util';
import type { ClusterFacts, DefinitionFact } from './cluster-facts.ts';
import type { CheckResult, Finding } from './finding.ts';

export function checkDefinitions({ wantedDefinitions, definitions }: ClusterFacts): CheckResult | undefined {
  if (definitions === undefined) return undefined;
  const found = new Map(definitions.map((definition) => [definition.metadata.name, definition]));
  const findings = [...wantedDefinitions].flatMap(([name, wanted]) =>
    findingsOf(name, wanted, found.get(name)),
  );
  return { group: 'Definitions', summary: `${wantedDefinitions.size} kinds of weft.dev`, findings };
}

function findingsOf(
  name: string,
  wanted: DefinitionFact,
  found: DefinitionFact | undefined,
): readonly Finding[] {
  const finding = (what: string, why: string): readonly Finding[] => [
    {
      level: 'error',
      where: name,
      what,
      why,
      fix: 'weft install --image IMAGE | kubectl apply --server-side --force-conflicts -f -',
    },
  ];
  if (found === undefined) return finding('is missing', 'objects of this kind cannot be made');
  if (!isEqual(wanted, found)) {
    return finding(
      'is of another version',
      'fields of this version are dropped by the API server, or refused',
    );
  }
  const established = found.status?.conditions?.find(({ type }) => type === 'Established');
  if (established?.status === 'True') return [];
  return finding(
    `is not established${established?.message === undefined ? '' : ` (${established.message})`}`,
    'the API server does not serve this kind',
  );
}

/** Apart from what the API server adds by itself, which is beside the names, versions and schemas. */
function isEqual({ spec: wanted }: DefinitionFact, { spec: found }: DefinitionFact): boolean {
  return ['group', 'scope', 'names', 'versions'].every((field) =>
    isDeepStrictEqual(wanted[field], found[field]),
  );
}
