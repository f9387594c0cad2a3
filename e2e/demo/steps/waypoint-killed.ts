// One of two waypoint pods is killed under load: requests under way in it are lost with it, as with any replica that dies;
// none that began afterwards fails.

import { claim } from '../demo-error.ts';
import { eventually } from '../eventually.ts';
import { storeAddress, storePort } from '../store-calls.ts';
import type { Step } from '../step.ts';

const concurrency = 4;
const load = 'waypoint killed';

export const waypointKilled: Step = {
  name: 'waypoint killed under load',
  async run(world) {
    const { agent } = world.pod('web');
    const target = { host: storeAddress, port: storePort };
    await agent.call('startLoad', { id: load, kind: 'connections', ...target, concurrency });
    const progress = () => agent.call('loadProgress', load);
    await eventually('under load', async () => ((await progress()).succeeded > 200 ? true : undefined));
    await world.app('waypoint-2').stop('SIGKILL');
    await agent.call('markLoad', load);
    await eventually('through: 500 requests after the kill', async () =>
      (await progress()).afterMark.succeeded > 500 ? true : undefined,
    );
    const report = await agent.call('stopLoad', load);
    await world.startApp('waypoint-2');
    const { succeeded, failed } = report.afterMark;
    const errors = JSON.stringify(report.errors);
    claim(failed === 0, `${failed} of ${succeeded + failed} requests failed after the kill: ${errors}`);
    const lost = report.failed - failed;
    claim(
      lost <= concurrency,
      `${lost} requests failed at the kill, but only ${concurrency} were under way: ${errors}`,
    );
    return `waypoint-2 killed: ${succeeded} requests after it, 0 failed (${lost} were in it)`;
  },
};
