// Certificates are renewed at half their life. Under load nothing notices: no request fails, open connections go on.

import { apiAddress, apiPort, echoPort, serials } from '../calls.ts';
import { claim } from '../demo-error.ts';
import { eventually } from '../eventually.ts';
import type { Step } from '../step.ts';
import { certificateLifetimeSeconds, type DemoWorld } from '../world.ts';

const held = 'open during rotation';

export const rotation: Step = {
  name: 'certificates rotate under load',
  async run(world) {
    const { agent } = world.pod('web');
    const before = await allSerials(world);
    const target = { host: apiAddress.v4, port: apiPort };
    await agent.call('open', { id: held, host: apiAddress.v4, port: echoPort });
    await agent.call('startLoad', { id: 'kept', kind: 'requests', ...target, concurrency: 2 });
    await agent.call('startLoad', { id: 'new', kind: 'connections', ...target, concurrency: 2 });
    const timeoutMs = certificateLifetimeSeconds * 1000;
    const changed = await eventually('renewed: every certificate', () => renewed(world, before), timeoutMs);
    const kept = await agent.call('stopLoad', 'kept');
    const fresh = await agent.call('stopLoad', 'new');
    const failed = kept.failed + fresh.failed;
    const errors = JSON.stringify({ ...kept.errors, ...fresh.errors });
    claim(failed === 0, `${failed} requests failed while certificates were renewed: ${errors}`);
    const echo = await agent.call('exchange', { id: held, text: 'still open' });
    claim(echo === 'still open', 'A connection opened before the renewal no longer echoes');
    const total = kept.succeeded + fresh.succeeded;
    return `${changed} certificates renewed (life ${certificateLifetimeSeconds} s), ${total} requests meanwhile, 0 failed`;
  },
};

/** Serial numbers by node and identity. */
async function allSerials(world: DemoWorld): Promise<ReadonlyMap<string, string>> {
  const all = new Map<string, string>();
  for (const node of world.nodes) {
    for (const [identity, serial] of await serials(world, node)) all.set(`${node} ${identity}`, serial);
  }
  return all;
}

async function renewed(world: DemoWorld, before: ReadonlyMap<string, string>): Promise<number | undefined> {
  const now = await allSerials(world);
  const same = [...before].filter(([key, serial]) => now.get(key) === serial);
  return before.size > 0 && same.length === 0 ? before.size : undefined;
}
