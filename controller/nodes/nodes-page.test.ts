import { describe, expect, it } from 'vitest';
import type { IpAddress } from '../../mesh/model/ip-address.ts';
import { type NodePod, podReference } from '../../mesh/model/node-pod.ts';
import { makeNodeFacts, makePodCapture } from '../../mesh/node-report/fixture.ts';
import { nodesPageSchema } from '../../mesh/node-report/nodes-page.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { NodeTable } from './node-table.ts';
import { captureTotals, nodesPage } from './nodes-page.ts';

function makePod(name: string, node: string): NodePod {
  return {
    uid: makePodCapture(name).uid,
    name,
    namespace: 'shop',
    serviceAccount: name,
    trustDomain: 'cluster.local',
    node,
    addresses: ['10.0.0.1' as IpAddress],
    netns: podReference(`uid-of-${name}`),
    enrolled: true,
  };
}

const pods = [makePod('web', 'node-1'), makePod('db', 'node-1'), makePod('far', 'node-2')];
const model = { pods: new Map(pods.map((pod) => [pod.uid, pod])) };

function open() {
  const clock = new ManualClock();
  const table = new NodeTable({ clock, onChange: () => {} });
  table.lead(true);
  const report = { complete: true, sentAt: clock.now() + 500, facts: makeNodeFacts(), removed: [] };
  table.open('node-1').receive({ ...report, pods: [makePodCapture('web'), makePodCapture('not-its-own')] });
  const page = () =>
    nodesPage({ table, model, hostNetwork: [], leader: 'one', version: '1', now: clock.now() });
  return { clock, table, page };
}

describe('nodesPage()', () => {
  it('shows each node with its pods of the mesh, and no others', () => {
    const { page } = open();
    expect(nodesPageSchema.parse(page()).nodes).toMatchObject([
      {
        node: 'node-1',
        state: 'reporting',
        clockSkewMs: 500,
        workers: 2,
        pods: [
          { name: 'web', state: 'captured' },
          { name: 'db', state: 'pending', reason: 'Waiting' },
        ],
      },
    ]);
  });

  it('names nodes that have pods of the mesh and never reported, after their time', () => {
    const { clock, page } = open();
    clock.advance(30_000);
    const far = { name: 'far', state: 'unknown', reason: 'NodeNotReporting' };
    expect(page().nodes).toMatchObject([
      { node: 'node-1', state: 'silent' },
      { node: 'node-2', state: 'silent', pods: [far] },
    ]);
  });

  it('is empty where another replica leads', () => {
    const { table, page } = open();
    table.lead(false);
    expect(page()).toMatchObject({ leading: false, leader: 'one', nodes: [] });
  });
});

describe('captureTotals()', () => {
  it('counts every pod of the mesh once', () => {
    const { table } = open();
    expect(Object.fromEntries(captureTotals(model, table))).toEqual({ captured: 1, pending: 1, unknown: 1 });
  });
});
