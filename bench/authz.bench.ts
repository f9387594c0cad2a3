// Decisions per second of the policy engine on one core, for 1, 100 and 1,000 candidate policies of one workload,
// about connections and (L7) about requests whose facts are made anew for each decision, as a waypoint makes them.
// Run by hand: node bench/authz.bench.ts. Every shape mixes callers that are allowed with ones that are not.

import { performance } from 'node:perf_hooks';
import type { ConnectionFacts } from '../mesh/authz/connection.ts';
import { RequestFacts } from '../mesh/authz/http-facts.ts';
import { PolicySet } from '../mesh/authz/policy-set.ts';
import { emptyHttp, emptyMatch } from '../mesh/model/authorization.ts';
import type { RequestHead } from '../mesh/http/message.ts';
import type {
  AuthorizationPolicy,
  HttpMatchConditions,
  Match,
  StringMatch,
} from '../mesh/model/authorization.ts';
import { ip, makePolicy } from '../mesh/model/fixture.ts';
import { type Identity, identityOf } from '../mesh/model/spiffe-id.ts';

const exact = (value: string): StringMatch => ({ kind: 'exact', value });
const prefix = (value: string): StringMatch => ({ kind: 'prefix', value });

const shapes: Record<string, (i: number) => Partial<Match>> = {
  'exact principals': (i) => ({ principals: [exact(`cluster.local/ns/ns-${i}/sa/web`)] }),
  'service accounts': (i) => ({ serviceAccounts: [{ namespace: `ns-${i}`, serviceAccount: 'web' }] }),
  'namespace and port': (i) => ({ namespaces: [exact(`ns-${i}`)], destinationPorts: [8080] }),
  'source ranges /24': (i) => ({ sourceIps: [{ address: ip(`10.${i >> 8}.${i & 255}.0`), length: 24 }] }),
  'principal prefixes': (i) => ({ principals: [prefix(`cluster.local/ns/ns-${i}/`)] }),
};

function policies(count: number, match: (i: number) => Partial<Match>): AuthorizationPolicy[] {
  return Array.from({ length: count }, (_, i) => {
    const rules = [{ name: '', clauses: [{ matches: [{ ...emptyMatch, ...match(i) }] }] }];
    return makePolicy('shop', `p${i}`, { rules, action: i % 10 === 9 ? 'deny' : 'allow' });
  });
}

/** As the inbound side asks: an identity object for each tunnel, many connections on it. */
function connections(count: number): ConnectionFacts[] {
  const peers: Identity[] = Array.from({ length: count }, (_, i) =>
    identityOf({
      trustDomain: 'cluster.local',
      namespace: `ns-${i}`,
      serviceAccount: i % 4 === 0 ? 'db' : 'web',
    }),
  );
  return Array.from({ length: 4096 }, (_, i) => ({
    peer: peers[(i * 7919) % count],
    sourceIp: ip(`10.${(i % count) >> 8}.${(i % count) & 255}.7`),
    destinationIp: ip('10.200.0.1'),
    destinationPort: i % 8 === 0 ? 8081 : 8080,
  }));
}

function measure(set: PolicySet, facts: readonly ConnectionFacts[]): number {
  let decided = 0;
  let allowed = 0;
  const start = performance.now();
  while (performance.now() - start < 400) {
    for (const one of facts) if (set.decide(one).allowed) allowed++;
    decided += facts.length;
  }
  if (allowed > decided) throw new Error('Counted more than was decided');
  return decided / ((performance.now() - start) / 1000);
}

const requestShapes: Record<string, (i: number) => Partial<HttpMatchConditions>> = {
  'L7 exact paths': (i) => ({ paths: [exact(`/api/v1/things-${i}`)] }),
  'L7 path prefixes': (i) => ({ paths: [prefix(`/api/v1/things-${i}`)], methods: [exact('GET')] }),
  'L7 hosts and methods': (i) => ({ hosts: [exact(`h${i}.test`)], methods: [exact('GET')] }),
  'L7 header values': (i) => ({ headers: [{ name: 'x-tenant', values: [exact(`t${i}`)], notValues: [] }] }),
  'L7 path templates': (i) => ({ paths: [{ kind: 'template', value: `/api/v1/things-${i}/{*}/{**}` }] }),
  'L7 claims': (i) => ({ claims: [{ path: ['realm', 'roles'], values: [exact(`r${i}`)], notValues: [] }] }),
};

function requests(count: number): ConnectionFacts[] {
  return connections(count).map((connection, i) => {
    const n = i % count;
    const head: RequestHead = {
      method: 'GET',
      scheme: 'http',
      authority: `h${n}.test:8080`,
      path: `/api/v1/things-${n}${i % 2 === 0 ? '' : '/7/x'}?q=1`,
      upgrade: undefined,
      headers: [
        ['accept', '*/*'],
        ['user-agent', 'bench'],
        ['x-request-id', 'd5b2'],
        ['x-tenant', `t${n}`],
      ],
    };
    const token = { principal: 'iss/ann', claims: { realm: { roles: ['user', `r${n}`] } } };
    return {
      ...connection,
      get http() {
        return new RequestFacts(head, token);
      },
    };
  });
}

/** One cell of the table, after a warm-up. */
function cell(count: number, { set, facts }: { set: PolicySet; facts: readonly ConnectionFacts[] }): string {
  measure(set, facts);
  return `${count}: ${Math.round(measure(set, facts)).toLocaleString('en-US')}`.padStart(20);
}

function line(
  name: string,
  match: (i: number) => Partial<Match>,
  factsFor: (count: number) => ConnectionFacts[],
): void {
  const cells = [1, 100, 1000].map((count) =>
    cell(count, { set: new PolicySet(policies(count, match)), facts: factsFor(Math.max(count, 10)) }),
  );
  process.stdout.write(`${name.padEnd(34)}${cells.join('')}\n`);
}

for (const [name, match] of Object.entries(shapes)) line(name, match, connections);
for (const [name, conditions] of Object.entries(requestShapes)) {
  line(name, (i) => ({ http: { ...emptyHttp, ...conditions(i) } }), requests);
}
