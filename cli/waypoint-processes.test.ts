import { describe, expect, it } from 'vitest';
import { ManualClock } from '../mesh/runtime/clock.ts';
import type { ProgramEnd } from './program-pair.ts';
import { type WantedWaypoint, WaypointProcesses, wantedWaypoints } from './waypoint-processes.ts';

const gate: WantedWaypoint = { gateway: 'shop/gate', pod: 'a', netns: '/run/netns/a' };
const second: WantedWaypoint = { gateway: 'shop/gate', pod: 'b', netns: '/run/netns/b' };

function start() {
  const clock = new ManualClock();
  const log: string[] = [];
  const ends = new Map<string, (end: ProgramEnd) => void>();
  const state = { wanted: [] as readonly WantedWaypoint[], fails: false };
  const processes = new WaypointProcesses({
    clock,
    wanted: async () => {
      if (state.fails) throw new Error('busy');
      return state.wanted;
    },
    prepare: async (gateway) => {
      log.push(`token ${gateway}`);
      return 'file';
    },
    start: ({ pod }, prepared) => {
      log.push(`start ${pod} ${prepared}`);
      const ended = new Promise<ProgramEnd>((resolve) => ends.set(pod, resolve));
      return { ended, end: () => log.push(`end ${pod}`) };
    },
    say: (text) => log.push(text),
  });
  const settled = async () => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  const turn = async (wanted: readonly WantedWaypoint[]) => {
    state.wanted = wanted;
    clock.advance(2_000);
    await settled();
    return log.splice(0);
  };
  const die = async (pod: string) => {
    ends.get(pod)?.({ name: 'waypoint', code: 1, signal: null });
    await settled();
  };
  return { processes, state, turn, die, settled, log };
}

describe('WaypointProcesses', () => {
  it('starts one for each pod, with one token for each Gateway, and asks it to end once it is not wanted', async () => {
    const { processes, turn, settled } = start();
    processes.run();
    await settled();
    expect(await turn([gate])).toEqual(['token shop/gate', 'start a file']);
    expect(await turn([gate, second])).toEqual(['start b file']);
    expect(await turn([gate, second])).toEqual([]);
    expect(await turn([second])).toEqual(['end a']);
    expect(await turn([second])).toEqual([]);
    await processes.stop();
  });

  it('starts one that ended anew, and says so', async () => {
    const { processes, turn, die, settled, log } = start();
    processes.run();
    await settled();
    await turn([gate]);
    await die('a');
    expect(log.splice(0)).toEqual(['the waypoint shop/gate ended with status 1']);
    expect(await turn([gate])).toEqual(['start a file']);
    await processes.stop();
  });

  it('changes nothing while the controller does not answer', async () => {
    const { processes, state, turn, settled } = start();
    processes.run();
    await settled();
    await turn([gate]);
    state.fails = true;
    expect(await turn([])).toEqual([]);
    await processes.stop();
  });

  it('starts nothing after stop()', async () => {
    const { processes, turn, settled } = start();
    processes.run();
    await settled();
    await processes.stop();
    expect(await turn([gate])).toEqual([]);
  });
});

describe('wantedWaypoints()', () => {
  const pod = {
    uid: 'a',
    namespace: 'shop',
    serviceAccount: 'gate',
    node: 'n1',
    netns: '/run/netns/a',
    enrolled: false,
  };
  const dump = (fields: object = {}, service = 'shop/gate.shop.svc.cluster.local') =>
    JSON.stringify({
      waypoints: [{ gateway: 'shop/gate', serviceAccount: 'gate' }],
      pods: [{ ...pod, ...fields }],
      workloads: [{ uid: 'a', services: { [service]: [] } }],
    });

  it('finds the pods of this node that serve a Gateway', () => {
    expect(wantedWaypoints(dump(), 'n1')).toEqual([gate]);
  });

  it.each([
    ['of another node', dump({ node: 'n2' })],
    ['of another namespace', dump({ namespace: 'bank' })],
    ['with another service account', dump({ serviceAccount: 'default' })],
    ['that are captured', dump({ enrolled: true })],
    ['that are no endpoints of its Service', dump({}, 'shop/gateway.shop.svc.cluster.local')],
    ['of nothing at all', '{}'],
  ])('finds no pods %s', (_what, text) => {
    expect(wantedWaypoints(text, 'n1')).toEqual([]);
  });
});
