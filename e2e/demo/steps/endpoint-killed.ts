// A replica is killed under load. Requests it had already received are lost with it; no request that began after its
// death fails, because a connection that could not be made is tried at another replica as long as nothing was sent.

import { apiAddress, apiPort } from '../calls.ts';
import { claim } from '../demo-error.ts';
import { eventually } from '../eventually.ts';
import type { Step } from '../step.ts';

const concurrency = 4;
const load = 'endpoint killed';
const victim = 'api-3';

export const endpointKilled: Step = {
  name: 'endpoint killed under load',
  async run(world) {
    const { agent } = world.pod('web');
    const target = { host: apiAddress.v4, port: apiPort };
    await agent.call('startLoad', { id: load, kind: 'connections', ...target, concurrency });
    const progress = () => agent.call('loadProgress', load);
    await eventually('under load', async () => ((await progress()).succeeded > 200 ? true : undefined));
    const log = world.tunnel(world.pod(victim).node).log;
    await world.app(victim).stop('SIGKILL');
    await agent.call('markLoad', load);
    const from = log.mark();
    await eventually('through: 500 requests after the kill', async () =>
      (await progress()).afterMark.succeeded > 500 ? true : undefined,
    );
    const report = await agent.call('stopLoad', load);
    const { succeeded, failed } = report.afterMark;
    await world.startApp(victim);
    const errors = JSON.stringify(report.errors);
    claim(failed === 0, `${failed} of ${succeeded + failed} requests failed after the kill: ${errors}`);
    const lost = report.failed - failed;
    claim(
      lost <= concurrency,
      `${lost} requests failed at the kill, but only ${concurrency} were under way: ${errors}`,
    );
    const victimAddress = `${world.pod(victim).address.v4}:${apiPort}`;
    const tries = log
      .lines(from)
      .filter((line) => line.includes(victimAddress) && line.includes('error=')).length;
    claim(
      tries < succeeded / 10,
      `${victim} was tried ${tries} times after its death; it is still in rotation`,
    );
    return `${victim} killed: ${succeeded} requests after it, 0 failed (${lost} were being answered); tried ${tries} times, then out of rotation`;
  },
};
