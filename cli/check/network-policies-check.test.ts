import { describe, expect, test } from 'vitest';
import type { ClusterFacts, NetworkPolicyFact } from './cluster-facts.ts';
import { checkNetworkPolicies } from './network-policies-check.ts';
import { healthyFacts, pod } from './testing/healthy-facts.ts';

function policy(name: string, spec: NetworkPolicyFact['spec'], namespace = 'shop'): NetworkPolicyFact {
  return { metadata: { name, namespace }, spec };
}

function findings(policies: readonly NetworkPolicyFact[], changes: Partial<ClusterFacts> = {}) {
  return checkNetworkPolicies(healthyFacts({ networkPolicies: policies, ...changes }))?.findings;
}

const web = { matchLabels: { app: 'web' } };
const fromClient = { podSelector: { matchLabels: { app: 'client' } } };
const appOnly = policy('web', {
  podSelector: web,
  ingress: [{ from: [fromClient], ports: [{ port: 8080 }] }],
});
const closed = policy('closed', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
const waypoint = pod('gate-1', {
  labels: {
    'gateway.networking.k8s.io/gateway-name': 'gate',
    'app.kubernetes.io/part-of': 'weft',
    'weft.dev/mode': 'none',
  },
  ip: '10.0.2.9',
});
const withWaypoint = { pods: [...(healthyFacts().pods ?? []), waypoint] };

describe('checkNetworkPolicies() between pods of the mesh', () => {
  test('finds a policy that lets the port of the application in, but not 15008, and mends it', () => {
    expect(findings([appOnly])).toMatchObject([
      {
        level: 'error',
        where: 'networkpolicy shop/web',
        what: 'does not let TCP 15008 in: from shop/client to shop/web',
        fix: `kubectl -n shop patch networkpolicy web --type=json -p '[{"op":"add","path":"/spec/ingress/0/ports/-","value":{"protocol":"TCP","port":15008}}]'`,
      },
    ]);
  });

  test('takes one that lets 15008 in too, by whichever rule or policy', () => {
    const beside = policy('mesh', { podSelector: {}, ingress: [{ ports: [{ port: 15008 }] }] });
    const range = policy('web', { podSelector: web, ingress: [{ ports: [{ port: 8080, endPort: 16000 }] }] });
    expect(findings([appOnly, beside])).toEqual([]);
    expect(findings([range])).toEqual([]);
    expect(findings([policy('open', { podSelector: {}, ingress: [{}] })])).toEqual([]);
  });

  test('finds one that lets the source out to the application only', () => {
    const egress = policy('client', {
      podSelector: fromClient.podSelector,
      policyTypes: ['Egress'],
      egress: [{ to: [{ podSelector: web }], ports: [{ port: 8080 }] }],
    });
    expect(findings([egress])).toMatchObject([
      {
        where: 'networkpolicy shop/client',
        what: 'does not let TCP 15008 out: from shop/client to shop/web',
      },
    ]);
  });

  test('leaves alone who may not talk at all: that is what the policy is for', () => {
    const nobody = policy('nobody', { podSelector: web });
    const others = policy('others', {
      podSelector: web,
      ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'x' } } }], ports: [{ port: 8080 }] }],
    });
    expect(findings([nobody])).toEqual([]);
    expect(findings([others])).toEqual([]);
    expect(findings([closed])).toEqual([]);
  });

  test('leaves alone what is not in the mesh, has ended, or is on the network of its node', () => {
    const policies = [policy('web', { podSelector: web, ingress: [{ ports: [{ port: 8080 }] }] })];
    const one = (changes: object) => [
      pod('web', { labels: { app: 'web' }, ...changes }),
      pod('client', { labels: { app: 'client' } }),
    ];
    expect(findings(policies, { pods: one({}) })).toHaveLength(1);
    expect(findings(policies, { pods: one({ labels: { app: 'web', 'weft.dev/mode': 'none' } }) })).toEqual(
      [],
    );
    expect(findings(policies, { pods: one({ hostNetwork: true }) })).toEqual([]);
    expect(findings(policies, { pods: one({ status: { phase: 'Succeeded' } }) })).toEqual([]);
  });

  test('says once what many pods suffer from', () => {
    const clients = ['a', 'b', 'c'].map((name) => pod(name, { labels: { app: 'client', name } }));
    const same = ['d', 'e'].map((name) => pod(name, { labels: { app: 'client' } }));
    const pods = [...clients, ...same, pod('web', { labels: { app: 'web' } })];
    const result = findings([appOnly], { pods });
    expect(result).toHaveLength(1);
    expect(result?.[0]?.what).toContain('and 3 pairs more');
  });

  test('tells pods apart by address where a policy does', () => {
    const block = policy('web', {
      podSelector: web,
      ingress: [
        { from: [{ ipBlock: { cidr: '10.0.1.0/24' } }] },
        { from: [{ ipBlock: { cidr: '10.0.3.0/24' } }], ports: [{ port: 8080 }] },
      ],
    });
    const pods = [
      pod('near', { labels: { app: 'client' }, ip: '10.0.1.7' }),
      pod('far', { labels: { app: 'client' }, ip: '10.0.3.7' }),
      pod('web', { labels: { app: 'web' }, ip: '10.0.2.1' }),
    ];
    expect(findings([block], { pods })?.map(({ what }) => what)).toEqual([
      'does not let TCP 15008 in: from shop/far to shop/web',
    ]);
  });
});

describe('checkNetworkPolicies() for the mesh itself', () => {
  test('finds a waypoint that a closed namespace cuts off, although nothing was ever let in there', () => {
    expect(findings([closed], withWaypoint)?.map(({ what }) => what)).toEqual([
      'does not let TCP 15008 in: from shop/client to shop/gate-1',
      'does not let TCP 15008 out: from shop/gate-1 to shop/client',
      'keeps TCP 15012 from going out: from shop/gate-1 to weft-system/weft-controller-1',
      'keeps UDP 53 from going out: from shop/gate-1 to kube-system/dns',
    ]);
  });

  test('finds what keeps node tunnels from the controller and from DNS', () => {
    const own = policy('closed', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }, 'weft-system');
    const whats = findings([own])?.map(({ what, why }) => `${what}; ${why}`);
    expect(whats).toHaveLength(3);
    expect(whats?.[0]).toMatch(
      /15012 from going in: from weft-system\/weft-ztunnel-node-1 .* no configuration/,
    );
    expect(whats?.[1]).toMatch(/15012 from going out/);
    expect(whats?.[2]).toMatch(/UDP 53 from going out: .* to kube-system\/dns; the name of the controller/);
  });

  test('takes policies that let just that through', () => {
    const own = policy(
      'own',
      {
        podSelector: {},
        policyTypes: ['Ingress', 'Egress'],
        ingress: [{ ports: [{ port: 15012 }] }],
        egress: [
          { to: [{ podSelector: {} }], ports: [{ port: 15012 }] },
          { to: [{ namespaceSelector: {} }], ports: [{ port: 53, protocol: 'UDP' }] },
        ],
      },
      'weft-system',
    );
    expect(findings([own])).toEqual([]);
  });

  test('judges nothing that could not be read', () => {
    expect(checkNetworkPolicies(healthyFacts({ networkPolicies: undefined }))).toBeUndefined();
  });
});
