import { describe, expect, it } from 'vitest';
import type { OpenConnection } from '../bpf/open-connections.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import { EarlierConnections } from './earlier-connections.ts';

const own = '10.0.0.1' as IpAddress;
const other = '10.0.0.9' as IpAddress;
const netnsPath = '/proc/thread-self/ns/net';
const pod: NodePod = {
  uid: 'Kubernetes//Pod/shop/web' as WorkloadUid,
  name: 'web',
  namespace: 'shop',
  serviceAccount: 'web',
  trustDomain: 'cluster.local',
  node: 'node-1',
  addresses: [own],
  netns: netnsPath,
  enrolled: true,
};

function connection(cookie: number, overrides: Partial<OpenConnection> = {}): OpenConnection {
  return {
    cookie: BigInt(cookie),
    local: { address: own, port: 40_000 },
    remote: { address: other, port: 80 },
    known: false,
    ...overrides,
  };
}

describe.skipIf(process.getuid?.() !== 0)('EarlierConnections', () => {
  function open(list: () => readonly OpenConnection[]) {
    const clock = new ManualClock();
    const changes: number[] = [];
    const earlier: EarlierConnections = new EarlierConnections({
      list,
      clock,
      logger: createLogger({ component: 'test', level: 'silent' }),
      onChange: () => changes.push(earlier.count(pod.uid)),
    });
    return { earlier, clock, changes };
  }

  it('counts what is neither within the pod nor known to the redirect nor a tunnel', () => {
    const { earlier } = open(() => [
      connection(1),
      connection(2, { known: true }),
      connection(3, { remote: { address: '127.0.0.1' as IpAddress, port: 80 } }),
      connection(4, { remote: { address: own, port: 15_001 } }),
      connection(5, { local: { address: own, port: 15_008 } }),
    ]);
    earlier.begin(pod, netnsPath);
    expect(earlier.count(pod.uid)).toBe(1);
  });

  it('counts down until none is left, and takes no later one for an earlier one', () => {
    let all = [connection(1), connection(2)];
    const { earlier, clock, changes } = open(() => all);
    earlier.begin(pod, netnsPath);
    all = [connection(2), connection(7)];
    clock.advance(15_000);
    all = [connection(7)];
    clock.advance(15_000);
    all = [connection(1)];
    clock.advance(60_000);
    expect(changes).toEqual([2, 1, 0]);
  });
});
