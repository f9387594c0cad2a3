import { describe, expect, test } from 'vitest';
import { runChecks } from './all-checks.ts';
import { isGreen } from './finding.ts';
import { showJson, showText } from './show-check.ts';
import { healthyFacts } from './testing/healthy-facts.ts';

describe('weft check', () => {
  test('finds nothing in a cluster in which all is well', () => {
    const results = runChecks(healthyFacts());
    expect(results.flatMap(({ findings }) => findings)).toEqual([]);
    expect(isGreen(results)).toBe(true);
  });

  test('says of a cluster without a mesh what is missing, and not what follows from it', () => {
    const facts = healthyFacts({
      controller: undefined,
      tunnels: undefined,
      definitions: [],
      roots: undefined,
      pods: [],
      page: { missing: 'no replica of the controller is ready' },
    });
    const groups = runChecks(facts).filter(({ findings }) => findings.length > 0);
    expect(groups.map(({ group }) => group)).toEqual(['Definitions', 'Controller', 'Node tunnels']);
  });

  test('says what may not be read, and judges nothing that rests on it', () => {
    const refused = ['list pods --all-namespaces', 'get deployments weft-controller -n weft-system'];
    const facts = healthyFacts({
      unreadable: refused.map((right) => ({ right, isForbidden: true, message: 'forbidden' })),
      pods: undefined,
      controller: undefined,
    });
    const findings = runChecks(facts).flatMap((result) => result.findings);
    expect(findings.map(({ where }) => where)).toEqual(refused);
    expect(findings[0]?.fix).toContain('kubectl auth can-i list pods --all-namespaces');
  });

  test.each(['v1.29.9', 'v1.9.0'])('refuses Kubernetes %s', (serverVersion) => {
    const [api] = runChecks(healthyFacts({ serverVersion }));
    expect(api?.findings[0]?.what).toContain('older than 1.30');
  });

  test.each(['v1.30.0', 'v1.34.4-gke.100', undefined])('takes Kubernetes %s', (serverVersion) => {
    expect(isGreen(runChecks(healthyFacts({ serverVersion })))).toBe(true);
  });
});

describe('the report', () => {
  const results = [
    { group: 'API server', summary: 'v1.34.4', findings: [] },
    {
      group: 'Nodes',
      summary: '2 nodes',
      findings: [
        { level: 'error', where: 'node a', what: 'is away', why: 'because', fix: 'kubectl get nodes' },
        { level: 'warning', where: 'node b', what: 'is slow', why: 'because', fix: 'wait' },
      ],
    },
  ] as const;

  test('is aligned, with a mark for each group and finding, and no colour unless on a terminal', () => {
    expect(showText(results, { isTerminal: false })).toBe(
      `✔ API server  v1.34.4
✖ Nodes       2 nodes
  ✖ node a: is away
      why  because
      do   kubectl get nodes
  ! node b: is slow
      why  because
      do   wait

1 thing to repair (✖), 1 thing to know (!)
`,
    );
    expect(showText(results, { isTerminal: true })).toContain('\u001b[31m✖\u001b[0m Nodes');
  });

  test('says that the mesh works when only warnings are left', () => {
    const warned = [{ ...results[1], findings: [results[1].findings[1]] }];
    expect(showText(warned, { isTerminal: false })).toContain('The mesh works, 1 thing to know (!)');
  });

  test('is for programs one object with every finding', () => {
    expect(JSON.parse(showJson(results))).toEqual({ ok: false, checks: results });
  });
});
