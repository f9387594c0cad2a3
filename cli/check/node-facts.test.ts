import { describe, expect, test } from 'vitest';
import type { NodeState } from '../../mesh/node-report/nodes-page.ts';
import { checkCaptures } from './captures-check.ts';
import { checkCertificates } from './certificates-check.ts';
import type { ClusterFacts } from './cluster-facts.ts';
import { checkNodes } from './nodes-check.ts';
import { healthyFacts, node, nodeState, now, page, podCapture, rootPem } from './testing/healthy-facts.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

function factsOf(changes: Partial<NodeState>): ClusterFacts {
  return healthyFacts({ nodes: [node('node-1')], page: page([nodeState('node-1', changes)]) });
}

describe('checkNodes()', () => {
  test.each([
    ['a clock that is two seconds off', { clockSkewMs: -2_500 }, 'warning', /2 s behind the controller/],
    ['a clock that is minutes off', { clockSkewMs: 200_000 }, 'error', /3 min ahead of/],
    ['no cgroup2', { cgroupRoot: '' }, 'error', /no cgroup2/],
    [
      'a CNI step that is broken',
      { cni: { state: 'broken', message: 'conflist rewritten' } },
      'error',
      /not in the chain: conflist rewritten/,
    ],
    ['no CNI step', { cni: { state: 'off', message: '' } }, 'warning', /is off/],
    ['silence', { state: 'silent', reportedAt: now - 60_000 }, 'error', /not for 60 s/],
    ['silence from the start', { state: 'silent', reportedAt: undefined }, 'error', /never/],
    [
      'a feature that the kernel lacks',
      {
        missingFeatures: [
          { feature: 'INET_DIAG_DESTROY', needed: 'a kernel with CONFIG_INET_DIAG_DESTROY', message: '' },
        ],
      },
      'warning',
      /kernel 6.6.1 has no INET_DIAG_DESTROY/,
    ],
  ] as const)('names %s', (_, changes, level, what) => {
    const { findings = [] } = checkNodes(factsOf(changes as Partial<NodeState>)) ?? {};
    expect(findings).toHaveLength(1);
    expect(findings[0]).toMatchObject({ level, where: 'node node-1' });
    expect(findings[0]?.what).toMatch(what);
  });

  test('names a node of the cluster that the page does not have', () => {
    const facts = healthyFacts({ page: page([nodeState('node-1')]) });
    expect(checkNodes(facts)?.findings).toMatchObject([{ level: 'error', where: 'node node-2' }]);
  });
});

describe('checkCaptures()', () => {
  const findingsOf = (changes: Parameters<typeof podCapture>[1]) =>
    checkCaptures(factsOf({ pods: [podCapture('web', changes)] }))?.findings;

  test.each([
    ['a pod that has just started', { state: 'pending', since: now - 2_000 }, 'warning', /pending for 2 s/],
    [
      'a pod that has waited too long',
      { state: 'pending', since: now - 300_000 },
      'error',
      /pending for 5 min/,
    ],
    [
      'a pod whose capture failed',
      { state: 'failed', reason: 'NoNamespace', message: 'no process' },
      'error',
      /failed .*NoNamespace: no process/,
    ],
    ['a pod that goes past the mesh', { state: 'bypassed' }, 'error', /bypassed/],
    ['a pod nobody knows of', { state: 'unknown', since: undefined }, 'warning', /unknown/],
    ['connections from before', { earlierConnections: 3 }, 'warning', /3 connections are older/],
  ] as const)('names %s', (_, changes, level, what) => {
    const findings = findingsOf(changes) ?? [];
    expect(findings).toHaveLength(1);
    expect(findings[0]?.level).toBe(level);
    expect(findings[0]?.what).toMatch(what);
    expect(findings[0]?.where).toContain('shop/web');
  });

  test('reckons with the clock of the node, by which it says since when', () => {
    const pods = [podCapture('web', { state: 'pending', since: now + 100_000 })];
    const findings = checkCaptures(factsOf({ clockSkewMs: 102_000, pods }))?.findings;
    expect(findings).toMatchObject([{ level: 'warning' }]);
  });

  test('counts, and names pods on the network of their node in one line', () => {
    const facts = healthyFacts({
      page: page([nodeState('node-1', { pods: [podCapture('web')] })], {
        hostNetworkPods: ['shop/agent', 'shop/other'],
      }),
    });
    expect(checkCaptures(facts)).toMatchObject({
      summary: '1 of 1 captured',
      findings: [{ level: 'warning', where: 'shop/agent, shop/other' }],
    });
  });
});

describe('checkCertificates()', () => {
  const at = (moment: string, changes: Partial<ClusterFacts> = {}) =>
    checkCertificates(healthyFacts({ now: Date.parse(moment), page: { missing: 'x' }, ...changes }))
      ?.findings;

  test.each([
    ['2040-05-01T00:00:00Z', []],
    ['2040-07-01T00:00:00Z', [{ level: 'warning', what: 'ends in 29 d' }]],
    ['2040-07-20T00:00:00Z', [{ level: 'error', what: 'ends in 10 d' }]],
    ['2040-08-20T00:00:00Z', [{ level: 'error', what: 'ended 20 d ago' }]],
  ])('looks at the roots, as on %s', (moment, expected) => {
    expect(at(moment)).toMatchObject(expected);
  });

  test('looks at each of two roots', () => {
    expect(at('2040-07-01T00:00:00Z', { roots: `${rootPem}${rootPem}` })).toHaveLength(2);
  });

  test.each([
    ['is missing', undefined],
    ['holds no certificate', 'nonsense'],
    ['holds no certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'],
  ])('says that the ConfigMap of roots %s', (what, roots) => {
    expect(at('2030-01-01T00:00:00Z', { roots })).toMatchObject([{ level: 'error', what }]);
  });

  test.each([
    ['a day', [], 7 * hourMs, 0],
    ['a day', [], 5 * hourMs, 1],
    ['a day', [], -hourMs, 1],
    ['an hour', ['controller', '--certificate-life=3600'], 20 * 60_000, 0],
    ['an hour', ['controller', '--certificate-life=3600'], 10 * 60_000, 1],
    ['thirty days', ['--certificate-life=2592000'], 5 * dayMs, 1],
  ])('of certificates that live %s (%j) with %d ms left has %d findings', (_, args, leftMs, count) => {
    const facts = factsOf({ certificateExpiry: now + leftMs });
    const controller = {
      ...(facts.controller as NonNullable<ClusterFacts['controller']>),
      spec: { template: { spec: { containers: [{ args }] } } },
    };
    expect(checkCertificates({ ...facts, controller })?.findings).toHaveLength(count);
  });

  test('says nothing of what a node had that does not report, or of one that has none yet', () => {
    expect(checkCertificates(factsOf({ state: 'silent', certificateExpiry: now - 1 }))?.findings).toEqual([]);
    expect(checkCertificates(factsOf({ certificateExpiry: undefined }))?.findings).toEqual([]);
  });
});
