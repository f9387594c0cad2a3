import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import type { KubeRequest } from '../kubernetes/kube-client.ts';
import { KubeError } from '../kubernetes/kube-error.ts';
import { RootsPublisher } from './roots-publisher.ts';

const logger = createLogger({ component: 'test', level: 'silent' });

interface Rig {
  readonly publisher: RootsPublisher;
  readonly clock: ManualClock;
  readonly published: string[];
  roots: string | undefined;
  away: boolean;
}

function rig(): Rig {
  const clock = new ManualClock();
  const published: string[] = [];
  const client = {
    async request<T>({ method, path, body }: KubeRequest): Promise<T> {
      if (rig.away) throw new KubeError('UNREACHABLE', 'away');
      expect(method).toBe('PATCH');
      expect(path).toMatch(/^\/api\/v1\/namespaces\/mesh\/configmaps\/weft-roots\?/);
      published.push((body as { data: Record<string, string> }).data['root-cert.pem'] ?? '');
      return {} as T;
    },
  };
  const publisher = new RootsPublisher({ client, clock, logger, namespace: 'mesh', roots: () => rig.roots });
  const rig: Rig = { publisher, clock, published, roots: 'first', away: false };
  return rig;
}

async function turns(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

describe('RootsPublisher', () => {
  test('writes the roots when it begins to lead, and again when they change', async () => {
    const { publisher, published, ...state } = rig();
    await turns();
    expect(published).toEqual([]);
    publisher.lead(true);
    await turns();
    expect(published).toEqual(['first']);
    publisher.recheck();
    await turns();
    expect(published).toEqual(['first', state.roots]);
    await publisher.close();
  });

  test('writes nothing before there is a root, and nothing while another replica leads', async () => {
    const all = rig();
    all.roots = undefined;
    all.publisher.lead(true);
    await turns();
    expect(all.published).toEqual([]);
    all.roots = 'second';
    all.publisher.lead(false);
    await turns();
    expect(all.published).toEqual([]);
    all.publisher.lead(true);
    await turns();
    expect(all.published).toEqual(['second']);
    await all.publisher.close();
  });

  test('tries again soon when the API server is away', async () => {
    const all = rig();
    all.away = true;
    all.publisher.lead(true);
    await turns();
    all.away = false;
    all.clock.advance(2_000);
    await turns();
    expect(all.published).toEqual(['first']);
    await all.publisher.close();
  });
});
