import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { KindWatch, type KindWatchOptions, type WatchState } from './kind-watch.ts';
import { KubeError, type KubeErrorCode } from './kube-error.ts';
import type { WatchRequest } from './kube-client.ts';

/** Lists are empty; each watch is answered by what the test says next. */
class FakeApi {
  readonly watches: {
    readonly request: WatchRequest;
    readonly path: string;
    end(error?: KubeError): void;
  }[] = [];
  failure: KubeError | undefined;

  client: KindWatchOptions['client'] = {
    request: async <T>(): Promise<T> => ({ metadata: { resourceVersion: '1' }, items: [] }) as T,
    watch: async (request) => {
      if (this.failure !== undefined) {
        this.watches.push({ request, path: request.path, end: () => {} });
        throw this.failure;
      }
      await new Promise<void>((resolve, reject) => {
        const end = (error?: KubeError): void => (error === undefined ? resolve() : reject(error));
        this.watches.push({ request, path: request.path, end });
        request.signal.addEventListener('abort', () => reject(new Error('aborted')));
        request.onOpen?.();
      });
    },
  };
}

interface Opened {
  readonly api: FakeApi;
  readonly clock: ManualClock;
  readonly watch: KindWatch;
  readonly states: WatchState[];
}

/** Delays are as long as they can be: no luck in them. */
async function open(): Promise<Opened> {
  const api = new FakeApi();
  const clock = new ManualClock();
  const states: WatchState[] = [];
  const watch = new KindWatch(
    { client: api.client, clock, path: '/api/v1/pods', random: () => 0 },
    {
      beginList: () => ({ add: () => {}, commit: () => {} }),
      onChanged: () => {},
      onDeleted: () => {},
      onNotServed: () => {},
      onState: (state) => void states.push(state),
    },
  );
  watch.start();
  await settle();
  return { api, clock, watch, states };
}

/** Every promise that can go on has gone on. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    clock.advance(Math.min(100, left));
    await settle();
  }
}

function error(code: KubeErrorCode, retryAfterMs?: number): KubeError {
  return new KubeError(code, 'away', { retryAfterMs });
}

/** Into an outage of a minute, in which every attempt fails. */
async function outage({ api, clock }: Opened, failure = error('UNREACHABLE')): Promise<void> {
  api.failure = failure;
  api.watches.at(-1)?.end(failure);
  await settle();
  await pass(clock, 60_000);
}

describe('KindWatch', () => {
  it('tries again at least every five seconds, and not more often, however long the API server is away', async () => {
    const opened = await open();
    const { api, clock, watch } = opened;
    await outage(opened);
    const before = api.watches.length;
    await pass(clock, 60_000);
    expect(api.watches.length - before).toBe(12);
    api.failure = undefined;
    await pass(clock, 5_000);
    expect(watch.state).toEqual({ synced: true });
    await watch.close();
  });

  it('tries at once when it is hastened, once, and waits as before if that was in vain', async () => {
    const opened = await open();
    const { api, clock, watch } = opened;
    await outage(opened);
    await pass(clock, 100);
    const before = api.watches.length;
    watch.hasten();
    watch.hasten();
    await settle();
    await pass(clock, 100);
    expect(api.watches.length - before).toBe(1);
    await pass(clock, 4_000);
    expect(api.watches.length - before).toBe(1);
    await pass(clock, 1_000);
    expect(api.watches.length - before).toBe(2);
    await watch.close();
  });

  it('comes at most once a second, however often it is hastened', async () => {
    const opened = await open();
    const { api, clock, watch } = opened;
    await outage(opened);
    const before = api.watches.length;
    for (let ms = 0; ms < 4_000; ms += 100) {
      watch.hasten();
      await pass(clock, 100);
    }
    expect(api.watches.length - before).toBeLessThanOrEqual(5);
    await watch.close();
  });

  it('does not come before the time that the API server asked for', async () => {
    const opened = await open();
    const { api, clock, watch } = opened;
    api.failure = error('THROTTLED', 30_000);
    api.watches.at(-1)?.end(api.failure);
    await settle();
    const before = api.watches.length;
    watch.hasten();
    await pass(clock, 29_000);
    expect(api.watches.length).toBe(before);
    await pass(clock, 1_500);
    expect(api.watches.length).toBe(before + 1);
    await watch.close();
  });

  it('begins with short waits again after a watch that worked, however that ended', async () => {
    const opened = await open();
    const { api, clock, watch } = opened;
    await outage(opened);
    api.failure = undefined;
    await pass(clock, 5_000);
    await pass(clock, 10_000);
    const before = api.watches.length;
    api.watches.at(-1)?.end(error('UNREACHABLE'));
    await settle();
    await pass(clock, 200);
    expect(api.watches.length).toBe(before + 1);
    await watch.close();
  });
});
