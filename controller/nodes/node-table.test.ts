import { describe, expect, it } from 'vitest';
import type { WorkloadUid } from '../../mesh/model/workload.ts';
import { makeNodeFacts, makePodCapture } from '../../mesh/node-report/fixture.ts';
import type { NodeReport } from '../../mesh/node-report/node-report.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { NodeTable } from './node-table.ts';

const web = makePodCapture('web');

function complete(overrides: Partial<NodeReport> = {}): NodeReport {
  return { complete: true, sentAt: 0, facts: makeNodeFacts(), pods: [web], removed: [], ...overrides };
}

function open(): { table: NodeTable; clock: ManualClock; changes: (string | undefined)[] } {
  const clock = new ManualClock();
  const changes: (string | undefined)[] = [];
  const table = new NodeTable({ clock, onChange: (node) => changes.push(node) });
  table.lead(true);
  return { table, clock, changes };
}

describe('NodeTable', () => {
  it('knows nothing of a node for half a minute, and takes it for silent then', () => {
    const { table, clock, changes } = open();
    expect(table.captureOf('node-1', web.uid)).toEqual({ kind: 'awaited' });
    clock.advance(30_000);
    expect(table.captureOf('node-1', web.uid)).toEqual({ kind: 'silent' });
    expect(changes).toEqual([undefined]);
  });

  it('holds what a node told last, change by change', () => {
    const { table } = open();
    const session = table.open('node-1');
    session.receive(complete({ pods: [web, makePodCapture('db')] }));
    const failed = makePodCapture('db', { state: 'failed', reason: 'NoListener' });
    session.receive(complete({ complete: false, facts: undefined, pods: [failed], removed: [web.uid] }));
    expect(table.captureOf('node-1', web.uid)).toEqual({ kind: 'untold' });
    expect(table.captureOf('node-1', failed.uid)).toEqual({ kind: 'told', capture: failed });
    expect(table.captureOf('node-2', failed.uid)).toEqual({ kind: 'awaited' });
  });

  it('measures how far the clock of a node is off', () => {
    const { table, clock } = open();
    table.open('node-1').receive(complete({ sentAt: clock.now() - 7_000 }));
    expect(table.views()).toMatchObject([{ node: 'node-1', clockSkewMs: -7_000, silent: false }]);
  });

  it('keeps the last word of a node that is away for half a minute', () => {
    const { table, clock, changes } = open();
    const session = table.open('node-1');
    session.receive(complete());
    session.close();
    clock.advance(29_999);
    expect(table.captureOf('node-1', web.uid).kind).toBe('told');
    clock.advance(1);
    expect(table.captureOf('node-1', web.uid)).toEqual({ kind: 'silent' });
    expect(changes.at(-1)).toBe('node-1');
    table.open('node-1').receive(complete());
    expect(table.captureOf('node-1', web.uid).kind).toBe('told');
  });

  it('takes a stream that says nothing any more for silence', () => {
    const { table, clock } = open();
    const session = table.open('node-1');
    session.receive(complete());
    clock.advance(20_000);
    session.receive(complete({ complete: false, facts: undefined, pods: [] }));
    clock.advance(29_999);
    expect(table.captureOf('node-1', web.uid).kind).toBe('told');
    clock.advance(1);
    expect(table.captureOf('node-1', web.uid).kind).toBe('silent');
  });

  it('tells nobody of a heartbeat', () => {
    const { table, changes } = open();
    const session = table.open('node-1');
    session.receive(complete());
    session.receive(complete({ complete: false, pods: [] }));
    expect(changes).toEqual(['node-1']);
  });

  it('takes a pod for captured as long as one of two processes of a node has it', () => {
    const { table } = open();
    const older = table.open('node-1');
    older.receive(complete());
    const newer = table.open('node-1');
    const pending = makePodCapture('web', { state: 'pending', reason: 'Waiting' });
    newer.receive(complete({ facts: makeNodeFacts({ startedAt: 1_800_000_000_000 }), pods: [pending] }));
    expect(table.captureOf('node-1', web.uid)).toEqual({ kind: 'told', capture: web });
    older.close();
    expect(table.captureOf('node-1', web.uid)).toEqual({ kind: 'told', capture: pending });
  });

  it('believes the next process of a node, not the one before it', () => {
    const { table } = open();
    const before = table.open('node-1');
    before.receive(complete());
    before.close();
    const failed = makePodCapture('web', { state: 'failed', reason: 'CaptureFailed' });
    table.open('node-1').receive(complete({ pods: [failed] }));
    expect(table.captureOf('node-1', web.uid)).toEqual({ kind: 'told', capture: failed });
  });

  it('forgets everything when it leads no more, and hears nothing more', () => {
    const { table, clock } = open();
    const session = table.open('node-1');
    session.receive(complete());
    table.lead(false);
    session.receive(complete());
    clock.advance(60_000);
    expect(table.views()).toEqual([]);
    expect(table.captureOf('node-1', web.uid)).toEqual({ kind: 'awaited' });
  });

  it('holds no more pods of a node than a node can have', () => {
    const { table } = open();
    const pods = Array.from({ length: 5_000 }, (_, i) => makePodCapture(`web-${i}`));
    const session = table.open('node-1');
    session.receive(complete({ pods: pods.slice(0, 2_500) }));
    session.receive(complete({ complete: false, pods: pods.slice(2_500) }));
    expect(table.views()[0]?.pods).toHaveLength(4_096);
    expect(table.captureOf('node-1', 'Kubernetes//Pod/shop/web-4999' as WorkloadUid).kind).toBe('untold');
  });

  it('forgets silent nodes that have no pods any more', () => {
    const { table, clock } = open();
    const session = table.open('node-1');
    session.receive(complete());
    session.close();
    table.prune(() => new Set());
    expect(table.views()).toHaveLength(1);
    clock.advance(30_000);
    table.prune(() => new Set(['node-1']));
    expect(table.views()).toHaveLength(1);
    table.prune(() => new Set());
    expect(table.views()).toEqual([]);
  });
});
