// The course of the demo, apart from the command line: start, steps, table, end. Whatever happens, and at whatever
// point it is aborted, the lab is closed (or kept, if that was asked for) before this returns.

import { removeLab } from '../lab/lab-state.ts';
import { measure } from './measure.ts';
import type { Comparison, Report } from './report.ts';
import { runSteps, type Step, type StepResult } from './step.ts';
import { aB } from './steps/a-b.ts';
import { balancing } from './steps/balancing.ts';
import { canary } from './steps/canary.ts';
import { clientAddress } from './steps/client-address.ts';
import { circuit } from './steps/circuit.ts';
import { controllerStopped } from './steps/controller-stopped.ts';
import { endpointKilled } from './steps/endpoint-killed.ts';
import { faults } from './steps/faults.ts';
import { grpcMethods } from './steps/grpc-methods.ts';
import { ipv6 } from './steps/ipv6.ts';
import { label } from './steps/label.ts';
import { livePolicy } from './steps/live-policy.ts';
import { mirror } from './steps/mirror.ts';
import { mutualTls } from './steps/mutual-tls.ts';
import { plaintextBefore } from './steps/plaintext-before.ts';
import { rateLimit } from './steps/rate-limit.ts';
import { retryTimeout } from './steps/retry-timeout.ts';
import { rotation } from './steps/rotation.ts';
import { strictMode } from './steps/strict-mode.ts';
import { token } from './steps/token.ts';
import { waypoint } from './steps/waypoint.ts';
import { waypointKilled } from './steps/waypoint-killed.ts';
import { DemoWorld } from './world.ts';

const beforeLabel: readonly Step[] = [plaintextBefore];
const afterLabel: readonly Step[] = [
  label,
  mutualTls,
  balancing,
  clientAddress,
  livePolicy,
  strictMode,
  endpointKilled,
  rotation,
  controllerStopped,
  ipv6,
  waypoint,
  canary,
  aB,
  mirror,
  faults,
  retryTimeout,
  rateLimit,
  token,
  circuit,
  grpcMethods,
  waypointKilled,
];

export interface RunOptions {
  readonly labName: string;
  readonly report: Report;
  readonly keep: boolean;
  /** Ends the demo early; what was built is removed. */
  readonly signal: AbortSignal;
}

/** Returns the exit status: 0 when every step holds, 1 when one failed, 130 when aborted. */
export async function runDemo({ labName, report, keep, signal }: RunOptions): Promise<number> {
  report.note('Starting two nodes, eleven pods, a controller and two ztunnels ...');
  const started = performance.now();
  const world = await unlessAborted(signal, DemoWorld.start(labName));
  if (world === 'aborted') {
    removeLab(labName);
    return 130;
  }
  let failed = true;
  try {
    report.note(
      `Ready after ${((performance.now() - started) / 1000).toFixed(1)} s. Logs: ${world.lab.directory}`,
    );
    const results = await unlessAborted(signal, walk(world, report));
    if (results === 'aborted') return 130;
    report.summary(results);
    failed = results.some((result) => !result.ok);
    return failed ? 1 : 0;
  } finally {
    if (keep && !signal.aborted) {
      world.lab.keep();
      report.note(whatToTry(world));
    } else {
      await world.lab.close({ keepFiles: failed && !signal.aborted });
      if (failed && !signal.aborted)
        report.note(`The logs are kept until the next start: ${world.lab.directory}`);
    }
  }
}

async function walk(world: DemoWorld, report: Report): Promise<readonly StepResult[]> {
  const first = await runSteps(world, beforeLabel, report.step);
  const without = await measure(world);
  const rest = await runSteps(world, afterLabel, report.step);
  const results = [...first, ...rest];
  if (results.every((result) => result.ok)) {
    const comparison: Comparison = { without, with: await measure(world) };
    report.comparison(comparison);
  }
  return results;
}

/** Settles as soon as the signal aborts; what then still goes wrong in the abandoned work is of no interest. */
function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T | 'aborted'> {
  const aborted = new Promise<'aborted'>((resolve) => {
    signal.addEventListener('abort', () => resolve('aborted'), { once: true });
  });
  work.catch(() => undefined);
  return Promise.race([work, aborted]);
}

function whatToTry(world: DemoWorld): string {
  const web = world.pod('web').host.namespace;
  const [node = ''] = world.nodes;
  const inNode = `ip netns exec weft-demo-${node}`;
  return `
Still running. To try:
  ip netns exec ${web} curl http://api:8080/            a call through the mesh, by name
  ip netns exec ${web} curl http://localhost:8080/      the web front, which calls the API
  ${inNode} curl http://localhost:15000/config_dump     what the ztunnel knows
  ${inNode} curl http://localhost:15020/metrics         its metrics
  tail -f ${world.lab.directory}/ztunnel-${node}.log    its access log
  ${world.configDirectory}    edit a manifest: it takes effect at once
To end it: npm run demo -- --clean (or any next start)`;
}
