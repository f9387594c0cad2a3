// The label goes on the Namespace manifest: every pod is captured, no process restarts, what was open stays open.

import { configDump } from '../calls.ts';
import { claim } from '../demo-error.ts';
import { eventually } from '../eventually.ts';
import type { Step } from '../step.ts';
import type { DemoWorld } from '../world.ts';
import { oldConnection } from './plaintext-before.ts';

const captured = ['web', 'batch', 'api-1', 'api-2', 'api-3'];

export const label: Step = {
  name: 'label added, captured live',
  essential: true,
  async run(world) {
    const started = performance.now();
    world.apply('namespace-demo.yaml');
    await eventually('captured: every pod of the namespace', () => allCaptured(world), 20_000);
    const ms = Math.round(performance.now() - started);
    const echo = await world.pod('web').agent.call('exchange', { id: oldConnection, text: 'after' });
    claim(echo === 'after', 'The connection opened before the label no longer echoes');
    const ended = captured.filter((pod) => world.app(pod).ended.aborted);
    claim(ended.length === 0, `Applications ended: ${ended.join(', ')}`);
    return `${captured.length} pods captured in ${ms} ms, none restarted, the connection opened before is alive`;
  },
};

async function allCaptured(world: DemoWorld): Promise<true | undefined> {
  const dumps = await Promise.all(world.nodes.map((node) => configDump(world, node)));
  const states = dumps.flatMap((dump) => Object.values(dump.workloadState ?? {}));
  const up = new Set(states.filter((entry) => entry.state === 'Up').map((entry) => entry.info.name));
  return captured.every((pod) => up.has(pod)) ? true : undefined;
}
