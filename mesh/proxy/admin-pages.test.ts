import { afterEach, describe, expect, it } from 'vitest';
import type { HttpEndpoint } from '../telemetry/http-endpoint.ts';
import { type AdminSources, openAdminServer } from './admin-pages.ts';
import { openReadinessServer, Readiness } from './readiness.ts';

let endpoint: HttpEndpoint;
const local = { address: '127.0.0.1', port: 0 };
const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${endpoint.port}${path}`, init);

afterEach(() => endpoint.close());

describe('openAdminServer()', () => {
  async function start(): Promise<{ level: string; quits: number }> {
    const state = { level: 'info', quits: 0 };
    const sources: AdminSources = {
      configDump: async () => ({ workloads: [] }),
      certificates: async () => [{ identity: 'spiffe://td/ns/shop/sa/web' }],
      connections: async () => [],
      logLevel: () => state.level,
      setLogLevel(level) {
        if (level !== 'debug') return false;
        state.level = level;
        return true;
      },
      resetLogLevel() {
        state.level = 'info';
      },
      quit() {
        state.quits++;
      },
    };
    endpoint = await openAdminServer(sources, { port: 0, title: 'Weft node tunnel' });
    return state;
  }

  it('lists its pages, and each listed page is there', async () => {
    await start();
    const index = await (await get('/')).text();
    const paths = [...index.matchAll(/href="([^"]+)"/g)].map(([, path]) => path as string);
    expect(paths).toContain('/config_dump');
    for (const path of paths) expect([200, 405]).toContain((await get(path)).status);
    expect(await (await get('/config_dump')).json()).toEqual({ workloads: [] });
  });

  it('changes the log level by POST only, refuses unknown ones, and sets it back', async () => {
    const state = await start();
    await get('/logging?level=debug');
    expect(state.level).toBe('info');
    expect((await get('/logging?level=loud', { method: 'POST' })).status).toBe(400);
    expect(await (await get('/logging?level=debug', { method: 'POST' })).text()).toBe(
      'current log level is debug\n',
    );
    await get('/logging?reset', { method: 'POST' });
    expect(state.level).toBe('info');
  });

  it('quits by POST only', async () => {
    const state = await start();
    expect((await get('/quitquitquit')).status).toBe(405);
    expect(state.quits).toBe(0);
    await get('/quitquitquit', { method: 'POST' });
    expect(state.quits).toBe(1);
  });
});

describe('openReadinessServer()', () => {
  it('is 500 with the names of pending tasks, then 200 ready', async () => {
    const readiness = new Readiness();
    const [xds, pods] = [readiness.task('xds'), readiness.task('pods')];
    endpoint = await openReadinessServer(readiness, local);
    xds();
    const pending = await get('/healthz/ready');
    expect([pending.status, await pending.text()]).toEqual([500, 'not ready, pending: pods\n']);
    pods();
    pods();
    const ready = await get('/healthz/ready');
    expect([ready.status, await ready.text()]).toEqual([200, 'ready']);
  });
});
