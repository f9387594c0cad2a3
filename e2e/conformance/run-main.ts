// Inside the cluster's namespaces: brings the cluster up, installs the mesh and its waypoints, runs the suite and takes
// the cluster down. Arguments: the suite's program, then the record of what to run as JSON. Ends with 1 unless every
// test of the mesh profiles ran and passed.

import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Cluster } from '../cluster/cluster.ts';
import { session, sessionCluster } from '../cluster/session.ts';
import { installGatewayApi } from '../suites/gateway-api.ts';
import { installMesh } from '../suites/mesh-installation.ts';
import { type SuiteRun, suiteFlags } from './suite-flags.ts';
import { isRepeated, readResult, readStart, resultTable, type TimedResult } from './suite-results.ts';
import { createWaypoints } from './waypoints.ts';

const [, , program = '', record = '{}'] = process.argv;
const suiteRun = JSON.parse(record) as SuiteRun;
const folder = session().failures;

function say(text: string): void {
  console.error(`conformance: ${text}`);
}

interface SuiteEnd {
  /** Exit status of the suite. */
  readonly status: number;
  readonly results: readonly TimedResult[];
  /** Requests that were not answered as they should be at first. */
  readonly repeated: number;
}

function isWanted(name: string): boolean {
  return suiteRun.test === undefined || suiteRun.test === name;
}

/** Says which test runs; everything the suite prints goes to a file. */
async function runSuite({ kubeconfig }: Cluster): Promise<SuiteEnd> {
  const env = { ...process.env, KUBECONFIG: kubeconfig };
  const child = spawn(program, suiteFlags(suiteRun), { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const log = createWriteStream(join(folder, 'suite.log'));
  const ended = new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 1)));
  const seconds = new Map<string, number>();
  const results: TimedResult[] = [];
  let repeated = 0;
  let current: { name: string; at: number } | undefined;
  const endCurrent = () => {
    if (current !== undefined) seconds.set(current.name, (performance.now() - current.at) / 1000);
    current = undefined;
  };
  for await (const line of createInterface({ input: child.stdout })) {
    log.write(`${line}\n`);
    if (isRepeated(line)) repeated += 1;
    const begun = readStart(line);
    const result = readResult(line);
    if (begun !== undefined || result !== undefined) endCurrent();
    if (begun !== undefined && isWanted(begun)) {
      say(begun);
      current = { name: begun, at: performance.now() };
    }
    if (result !== undefined && isWanted(result.name)) {
      results.push({ ...result, seconds: seconds.get(result.name) ?? 0 });
    }
  }
  return { status: await ended, results, repeated };
}

async function collect(cluster: Cluster): Promise<void> {
  await cluster.collectLogs(join(folder, 'logs'));
  say(`the suite's output and the cluster's logs are in ${folder}`);
}

async function main(cluster: Cluster): Promise<number> {
  mkdirSync(folder, { recursive: true });
  try {
    await cluster.up({ kubeProxyMode: 'nftables', images: session().images });
    say(`a cluster of ${cluster.nodes.length} nodes is ready`);
    await installGatewayApi(cluster);
    await installMesh(cluster);
    await createWaypoints(cluster);
    say('the mesh and its waypoints are ready');
    const { status, results, repeated } = await runSuite(cluster);
    console.log(resultTable(results));
    console.log(`${repeated} requests were not answered as they should be at first and sent again`);
    const allPassed = results.length > 0 && results.every(({ verdict }) => verdict === 'passed');
    if (allPassed && status === 0) return 0;
    await collect(cluster);
    return 1;
  } catch (error) {
    say(`failed: ${(error as Error).message}`);
    await collect(cluster);
    return 1;
  }
}

const cluster = sessionCluster();
try {
  process.exitCode = await main(cluster);
} finally {
  await cluster.down();
}
