import { describe, expect, test } from 'vitest';
import type { NetworkPolicyFact, PolicyPeer, PolicyPort } from './cluster-facts.ts';
import { admits, admittingTcp, policiesOf, type PolicyPod } from './network-policy.ts';

const server: PolicyPod = {
  namespace: 'shop',
  name: 'web',
  namespaceLabels: { team: 'shop' },
  labels: { app: 'web', tier: 'front' },
  addresses: ['10.0.2.1', 'fd00::2'],
  ports: [
    { name: 'http', containerPort: 8080 },
    { name: 'mesh', containerPort: 15008, protocol: 'TCP' },
    { name: 'dns', containerPort: 53, protocol: 'UDP' },
  ],
};
const client: PolicyPod = {
  ...server,
  namespace: 'other',
  name: 'client',
  namespaceLabels: { team: 'other' },
  labels: { app: 'client' },
  addresses: ['10.0.1.1'],
  ports: [],
};
const crossing = { direction: 'Ingress', subject: server, peer: client } as const;
const mesh = { protocol: 'TCP', port: 15008 } as const;

function policy(spec: NetworkPolicyFact['spec'], namespace = 'shop'): NetworkPolicyFact {
  return { metadata: { name: 'p', namespace }, spec };
}

function withIngress(rule: {
  readonly ports?: readonly PolicyPort[];
  readonly from?: readonly PolicyPeer[];
}) {
  return [policy({ podSelector: {}, ingress: [rule] })];
}

describe('policiesOf() selects', () => {
  const isSelected = (
    spec: NetworkPolicyFact['spec'],
    direction: 'Ingress' | 'Egress' = 'Ingress',
    namespace = 'shop',
  ) => policiesOf([policy(spec, namespace)], server, direction).length === 1;

  test.each([
    ['everything by an empty selector', {}, true],
    ['by a label', { matchLabels: { app: 'web' } }, true],
    ['not by another label', { matchLabels: { app: 'web', tier: 'back' } }, false],
    ['by In', { matchExpressions: [{ key: 'app', operator: 'In', values: ['web', 'x'] }] }, true],
    ['not by NotIn', { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] }, false],
    [
      'by NotIn of a label that is not there',
      { matchExpressions: [{ key: 'x', operator: 'NotIn', values: ['y'] }] },
      true,
    ],
    ['by Exists', { matchExpressions: [{ key: 'tier', operator: 'Exists' }] }, true],
    ['not by DoesNotExist', { matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] }, false],
    [
      'not where one of two expressions fails',
      { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'x', operator: 'Exists' }] },
      false,
    ],
  ])('%s', (_, podSelector, expected) => {
    expect(isSelected({ podSelector })).toBe(expected);
  });

  test('nothing of other namespaces', () => {
    expect(isSelected({ podSelector: {} }, 'Ingress', 'other')).toBe(false);
  });

  test.each([
    [{ podSelector: {} }, ['Ingress']],
    [{ podSelector: {}, egress: [] }, ['Ingress']],
    [{ podSelector: {}, egress: [{}] }, ['Ingress', 'Egress']],
    [{ podSelector: {}, policyTypes: ['Egress'] }, ['Egress']],
    [{ podSelector: {}, policyTypes: ['Ingress', 'Egress'] }, ['Ingress', 'Egress']],
  ])('by %j for %j', (spec, directions) => {
    expect((['Ingress', 'Egress'] as const).filter((direction) => isSelected(spec, direction))).toEqual(
      directions,
    );
  });
});

describe('admits() by ports', () => {
  test.each<[string, readonly PolicyPort[] | undefined, boolean]>([
    ['no list', undefined, true],
    ['an empty list', [], true],
    ['the port', [{ port: 15008 }], true],
    ['another port', [{ port: 8080 }], false],
    ['a range around it', [{ port: 15000, endPort: 15010 }], true],
    ['a range that ends before it', [{ port: 15000, endPort: 15007 }], false],
    ['every port of TCP', [{ protocol: 'TCP' }], true],
    ['the port of UDP', [{ protocol: 'UDP', port: 15008 }], false],
    ['every port of UDP', [{ protocol: 'UDP' }], false],
    ['the name of that port', [{ port: 'mesh' }], true],
    ['the name of another port', [{ port: 'http' }], false],
    ['a name nobody has', [{ port: 'nothing' }], false],
    ['one of several', [{ port: 8080 }, { port: 15008, protocol: 'TCP' }], true],
  ])('%s: %j', (_, ports, expected) => {
    expect(admits(withIngress(ports === undefined ? {} : { ports }), crossing, mesh)).toBe(expected);
  });

  test('a name is that of the destination also where the policy is of the source', () => {
    const egress = [policy({ podSelector: {}, egress: [{ ports: [{ port: 'mesh' }] }] }, 'other')];
    expect(admits(egress, { direction: 'Egress', subject: client, peer: server }, mesh)).toBe(true);
    expect(admits(egress, { direction: 'Egress', subject: server, peer: client }, mesh)).toBe(false);
  });

  test('a named port of another protocol is another port', () => {
    expect(admits(withIngress({ ports: [{ port: 'dns' }] }), crossing, { protocol: 'UDP', port: 53 })).toBe(
      false,
    );
    const udp = withIngress({ ports: [{ port: 'dns', protocol: 'UDP' }] });
    expect(admits(udp, crossing, { protocol: 'UDP', port: 53 })).toBe(true);
  });
});

describe('admits() by peers', () => {
  test.each<[string, readonly PolicyPeer[] | undefined, boolean]>([
    ['anybody', undefined, true],
    ['anybody, by an empty list', [], true],
    ['pods of its own namespace', [{ podSelector: {} }], false],
    ['pods of all namespaces', [{ namespaceSelector: {} }], true],
    ['pods of a namespace with a label', [{ namespaceSelector: { matchLabels: { team: 'other' } } }], true],
    ['pods of another namespace', [{ namespaceSelector: { matchLabels: { team: 'shop' } } }], false],
    [
      'certain pods of a namespace',
      [
        {
          namespaceSelector: { matchLabels: { team: 'other' } },
          podSelector: { matchLabels: { app: 'client' } },
        },
      ],
      true,
    ],
    [
      'other pods of that namespace',
      [{ namespaceSelector: { matchLabels: { team: 'other' } }, podSelector: { matchLabels: { app: 'x' } } }],
      false,
    ],
    [
      'two peers, of which one fits',
      [{ podSelector: {} }, { namespaceSelector: { matchLabels: { team: 'other' } } }],
      true,
    ],
    ['a network', [{ ipBlock: { cidr: '10.0.0.0/16' } }], true],
    ['another network', [{ ipBlock: { cidr: '10.1.0.0/16' } }], false],
    [
      'a network without a part of it',
      [{ ipBlock: { cidr: '10.0.0.0/16', except: ['10.0.1.0/24'] } }],
      false,
    ],
    ['a network of the other family', [{ ipBlock: { cidr: '::/0' } }], false],
    ['no network', [{ ipBlock: { cidr: 'nonsense' } }], false],
  ])('%s', (_, from, expected) => {
    expect(admits(withIngress(from === undefined ? {} : { from }), crossing, mesh)).toBe(expected);
  });

  test('nobody by a policy without rules, and anybody by the rule of another policy', () => {
    const closed = policy({ podSelector: {} });
    expect(admits([closed], crossing, mesh)).toBe(false);
    expect(admits([closed, ...withIngress({ ports: [{ port: 15008 }] })], crossing, mesh)).toBe(true);
  });
});

describe('admittingTcp()', () => {
  test('finds the rule by which the two talk', () => {
    const rules = [
      { from: [{ podSelector: {} }] },
      { ports: [{ protocol: 'UDP', port: 53 }] },
      { ports: [{ port: 8080 }] },
    ];
    expect(admittingTcp([policy({ podSelector: {}, ingress: rules })], crossing)?.index).toBe(2);
  });

  test('finds none where only others, or only UDP, are let through', () => {
    expect(admittingTcp(withIngress({ from: [{ podSelector: {} }] }), crossing)).toBeUndefined();
    expect(admittingTcp(withIngress({ ports: [{ protocol: 'UDP' }] }), crossing)).toBeUndefined();
  });
});
