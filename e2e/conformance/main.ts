// `npm run conformance`: Gateway API's own conformance suite, the mesh profiles, against Weft on a local cluster of two
// nodes. Prepares programs and images, then runs run-main.ts in namespaces of their own. `-- -run-test=NAME` runs one test.
// A whole run writes the report to docs/conformance.

import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClusterError } from '../cluster/cluster-error.ts';
import { runIsolated } from '../cluster/local/isolated-run.ts';
import { beginRun, endRun, type Run } from '../cluster/local/runs.ts';
import { sessionEnv } from '../cluster/session.ts';
import { buildImages } from '../images/build-images.ts';
import { findGatewayCrds } from '../kubernetes/gateway-crds.ts';
import { findClusterPrograms } from '../kubernetes/programs.ts';
import { RigError } from '../kubernetes/rig-error.ts';
import { echoImage } from './echo-image.ts';
import type { SuiteRun } from './suite-flags.ts';
import { echoImageName } from './suite-module.ts';
import { conformanceSuite } from './suite-program.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const failures = join(root, '.weft/conformance');
const workers = 2;

function say(text: string): void {
  console.error(`conformance: ${text}`);
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const test = chosenTest(args);
    if (process.getuid?.() !== 0) {
      throw new ClusterError('unsupported', 'The local cluster needs root; run the same command with sudo');
    }
    const run = await beginRun();
    try {
      return await runIn(run, test);
    } finally {
      await endRun(run);
    }
  } catch (error) {
    if (!(error instanceof RigError || error instanceof ClusterError)) throw error;
    say(`failed: ${error.message}`);
    return 1;
  }
}

async function runIn(run: Run, test: string | undefined): Promise<number> {
  const building = { env: process.env, onBuild: say };
  const suite = await conformanceSuite(building);
  const { etcd, kubernetes, coredns } = await findClusterPrograms(building);
  const gatewayCrds = await findGatewayCrds();
  if (gatewayCrds === undefined) {
    throw new ClusterError('unsupported', 'The Go module of Gateway API could not be fetched');
  }
  rmSync(failures, { recursive: true, force: true });
  const archive = join(run.directory, 'images.tar');
  await buildImages(archive, { coredns, added: [echoImage(await echoImageName())] });
  const cluster = { backend: 'local' as const, run, etcd, programs: kubernetes, workers };
  const env = { ...process.env, ...sessionEnv({ cluster, images: [archive], failures, gatewayCrds }) };
  const program = [process.execPath, join(root, 'e2e/conformance/run-main.ts'), suite];
  const isolated = runIsolated([...program, JSON.stringify(suiteRun(test))], env);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => isolated.kill());
  return await isolated.ended;
}

/** The report of one test alone says nothing about the mesh, so it is not kept with the others. */
function suiteRun(test: string | undefined): SuiteRun {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const folder = test === undefined ? join(root, 'docs/conformance') : failures;
  mkdirSync(folder, { recursive: true });
  const report = join(folder, `experimental-v${version}-default-report.yaml`);
  return { version, report, ...(test === undefined ? {} : { test }) };
}

function chosenTest(args: readonly string[]): string | undefined {
  const [flag, ...others] = args;
  if (flag === undefined) return undefined;
  const test = /^--?run-test=([A-Za-z0-9]+)$/.exec(flag)?.[1];
  if (test !== undefined && others.length === 0) return test;
  throw new ClusterError('unsupported', `The only option is -run-test=NAME, got "${args.join(' ')}"`);
}

process.exitCode = await main(process.argv.slice(2));
