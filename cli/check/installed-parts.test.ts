import { describe, expect, test } from 'vitest';
import type { ClusterFacts, DefinitionFact } from './cluster-facts.ts';
import { checkController } from './controller-check.ts';
import { checkDefinitions } from './definitions-check.ts';
import { checkNodeTunnels } from './node-tunnels-check.ts';
import { controllerPod, healthyFacts, node, nodeState, page, tunnelPod } from './testing/healthy-facts.ts';

const crashing = {
  phase: 'Running',
  conditions: [{ type: 'Ready', status: 'False' }],
  containerStatuses: [
    {
      name: 'main',
      ready: false,
      restartCount: 4,
      state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 40s' } },
    },
  ],
};

describe('checkDefinitions()', () => {
  const change = (edit: (definition: DefinitionFact) => DefinitionFact | undefined): ClusterFacts => {
    const facts = healthyFacts();
    const changed = facts.definitions?.flatMap((definition) =>
      definition.metadata.name === 'meshconfigs.weft.dev' ? (edit(definition) ?? []) : [definition],
    );
    return healthyFacts({ definitions: changed });
  };
  const whats = (facts: ClusterFacts) =>
    checkDefinitions(facts)?.findings.map(({ where, what }) => `${where} ${what}`);

  test.each([
    ['is missing', () => undefined],
    ['is of another version', (one: DefinitionFact) => ({ ...one, spec: { ...one.spec, versions: [] } })],
    [
      'is of another version',
      (one: DefinitionFact) => ({ ...one, spec: { ...one.spec, scope: 'Namespaced' } }),
    ],
    ['is not established', (one: DefinitionFact) => ({ ...one, status: {} })],
  ])('%s', (what, edit) => {
    expect(whats(change(edit))).toEqual([`meshconfigs.weft.dev ${what}`]);
  });

  test('takes what the API server adds, and definitions of others', () => {
    const facts = change((one) => ({ ...one, spec: { ...one.spec, conversion: { strategy: 'None' } } }));
    expect(whats(facts)).toEqual([]);
  });

  test('judges nothing that could not be read', () => {
    expect(checkDefinitions(healthyFacts({ definitions: undefined }))).toBeUndefined();
  });
});

describe('checkController()', () => {
  const withStatus = (status: object, changes: Partial<ClusterFacts> = {}): ClusterFacts => {
    const facts = healthyFacts(changes);
    return {
      ...facts,
      controller: { ...(facts.controller as object), status } as ClusterFacts['controller'],
    };
  };

  test('says why no replica is available, in the words of the container', () => {
    const facts = withStatus(
      { observedGeneration: 1 },
      { pods: [controllerPod(crashing)], page: { missing: 'x' } },
    );
    const [finding, ...others] = checkController(facts)?.findings ?? [];
    expect(others).toEqual([]);
    expect(finding).toMatchObject({
      level: 'error',
      what: '0 of 1 replicas are available, 0 of this version; weft-controller-1: CrashLoopBackOff: back-off 40s, started again 4 times',
    });
  });

  test('counts what the cluster has not looked at yet as not available', () => {
    const facts = withStatus({ observedGeneration: 0, availableReplicas: 1, updatedReplicas: 1 });
    expect(checkController(facts)?.findings).toMatchObject([{ level: 'error' }]);
  });

  test('says that the page of a controller that runs cannot be read', () => {
    const facts = healthyFacts({ page: { missing: 'it takes the right to create pods/portforward' } });
    expect(checkController(facts)?.findings[0]?.what).toContain('pods/portforward');
  });

  test('finds the mark of an uninstallation that was not finished', () => {
    const namespaces = [{ metadata: { name: 'weft-system', labels: { 'weft.dev/enrolment': 'off' } } }];
    expect(checkController(healthyFacts({ namespaces }))?.findings).toMatchObject([
      { level: 'error', where: 'namespace weft-system', fix: expect.stringContaining('weft.dev/enrolment-') },
    ]);
  });

  test('names a version that is not that of the command, which breaks nothing', () => {
    const facts = healthyFacts({ page: page([], { version: '0.2.0' }) });
    expect(checkController(facts)?.findings).toMatchObject([
      { level: 'warning', what: 'is of version 0.2.0, this command of 0.1.0' },
    ]);
  });
});

describe('checkNodeTunnels()', () => {
  const pending = {
    phase: 'Pending',
    conditions: [
      { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: 'Insufficient memory' },
    ],
  };

  test.each([
    ['there is none', []],
    ['CrashLoopBackOff', [tunnelPod('node-2', crashing)]],
    ['Unschedulable: Insufficient memory', [tunnelPod('node-2', pending)]],
    ['it is starting', [tunnelPod('node-2', { phase: 'Pending' })]],
  ])('names a node where no tunnel is ready: %s', (what, here) => {
    const { findings = [] } = checkNodeTunnels(healthyFacts({ pods: [tunnelPod('node-1'), ...here] })) ?? {};
    expect(findings).toHaveLength(1);
    expect(findings[0]).toMatchObject({ level: 'error', where: 'node node-2' });
    expect(findings[0]?.what).toContain(what);
  });

  test('says that the node itself is not Ready', () => {
    const away = node('node-2', { status: { conditions: [{ type: 'Ready', status: 'Unknown' }] } });
    const facts = healthyFacts({ nodes: [node('node-1'), away], pods: [tunnelPod('node-1')] });
    expect(checkNodeTunnels(facts)?.findings[0]?.what).toContain('the node is not Ready');
  });

  test('asks nothing of nodes of other systems', () => {
    const windows = node('win-1', { metadata: { name: 'win-1', labels: { 'kubernetes.io/os': 'windows' } } });
    const facts = healthyFacts({ nodes: [node('node-1'), node('node-2'), windows] });
    expect(checkNodeTunnels(facts)?.findings).toEqual([]);
  });

  test('names nodes of another version, and an update that is under way', () => {
    const nodes = [nodeState('node-1'), nodeState('node-2', { version: '0.0.9' })];
    const facts = healthyFacts({ page: page(nodes) });
    const tunnels = {
      ...(facts.tunnels as NonNullable<ClusterFacts['tunnels']>),
      status: { observedGeneration: 1, desiredNumberScheduled: 2, updatedNumberScheduled: 1 },
    };
    expect(checkNodeTunnels({ ...facts, tunnels })?.findings).toMatchObject([
      { level: 'warning', what: '1 of 2 pods are of the newest template' },
      { level: 'warning', where: 'node node-2 (0.0.9)' },
    ]);
  });
});
