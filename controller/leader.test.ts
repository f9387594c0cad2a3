import { describe, expect, it } from 'vitest';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import { KubeError } from './kubernetes/kube-error.ts';
import type { KubeRequest } from './kubernetes/kube-client.ts';
import { LeaderElection } from './leader.ts';

const logger = createLogger({ component: 'test', level: 'silent' });
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

interface Stored {
  metadata: { resourceVersion?: string };
  spec: { holderIdentity: string; leaseTransitions: number };
}

/** One Lease with optimistic locking, as the API server keeps it; `away` refuses everything. */
class LeaseApi {
  lease: Stored | undefined;
  away = false;
  #version = 0;

  async request<T>({ method = 'GET', body }: KubeRequest): Promise<T> {
    if (this.away) throw new KubeError('UNREACHABLE', 'away');
    const given = structuredClone(body) as Stored;
    if (method === 'GET') {
      if (this.lease === undefined) throw new KubeError('NOT_FOUND', 'none');
      return structuredClone(this.lease) as T;
    }
    const isStale = given.metadata.resourceVersion !== this.lease?.metadata.resourceVersion;
    if (method === 'POST' ? this.lease !== undefined : isStale) throw new KubeError('CONFLICT', 'slower');
    this.lease = { ...given, metadata: { ...given.metadata, resourceVersion: `${++this.#version}` } };
    return structuredClone(this.lease) as T;
  }
}

interface Candidate {
  readonly election: LeaderElection;
  readonly changes: boolean[];
}

function candidate(identity: string, api: LeaseApi, clock: ManualClock): Candidate {
  const changes: boolean[] = [];
  const onChange = (leading: boolean) => void changes.push(leading);
  const election = new LeaderElection({
    client: api,
    clock,
    logger,
    namespace: 'n',
    name: 'l',
    identity,
    onChange,
  });
  election.start();
  return { election, changes };
}

/** Lets `ms` pass in small steps, and `holds` be true after each. */
async function pass(clock: ManualClock, ms: number, holds: () => boolean = () => true): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    for (let i = 0; i < 8; i++) await turn();
    expect(holds()).toBe(true);
    clock.advance(500);
  }
  for (let i = 0; i < 8; i++) await turn();
}

describe('LeaderElection', () => {
  it('lets one of two lead, and keeps it as long as it renews', async () => {
    const clock = new ManualClock();
    const api = new LeaseApi();
    const a = candidate('a', api, clock);
    await pass(clock, 1_000);
    const b = candidate('b', api, clock);
    await pass(clock, 60_000);
    expect([a.changes, b.changes]).toEqual([[true], []]);
    expect(b.election.holder).toBe('a');
    await Promise.all([a.election.close(), b.election.close()]);
  });

  it('stops leading before another may begin, when its requests fail', async () => {
    const clock = new ManualClock();
    const shared = new LeaseApi();
    const cut = { away: false };
    const ofA = {
      request: async <T>(request: KubeRequest): Promise<T> => {
        if (cut.away) throw new KubeError('UNREACHABLE', 'cut off');
        return await shared.request<T>(request);
      },
    };
    const a = candidate('a', ofA as LeaseApi, clock);
    await pass(clock, 1_000);
    const b = candidate('b', shared, clock);
    await pass(clock, 10_000);
    cut.away = true;
    await pass(clock, 60_000, () => !(a.election.leading && b.election.leading));
    expect([a.changes, b.changes]).toEqual([[true, false], [true]]);
    expect(shared.lease?.spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
    await Promise.all([a.election.close(), b.election.close()]);
  });

  it('gives the lease back at the end, so that another leads within one attempt', async () => {
    const clock = new ManualClock();
    const api = new LeaseApi();
    const a = candidate('a', api, clock);
    const b = candidate('b', api, clock);
    await pass(clock, 5_000);
    const [leader, other] = a.election.leading ? [a, b] : [b, a];
    expect(leader.election.leading && !other.election.leading).toBe(true);
    await leader.election.close();
    expect(leader.changes).toEqual([true, false]);
    await pass(clock, 3_000);
    expect(other.election.leading).toBe(true);
    await other.election.close();
  });

  it('leads nobody while the API server is away, and again afterwards', async () => {
    const clock = new ManualClock();
    const api = new LeaseApi();
    const { election, changes } = candidate('a', api, clock);
    await pass(clock, 3_000);
    api.away = true;
    await pass(clock, 30_000);
    expect(changes).toEqual([true, false]);
    api.away = false;
    await pass(clock, 30_000);
    expect(changes).toEqual([true, false, true]);
    await election.close();
  });
});
