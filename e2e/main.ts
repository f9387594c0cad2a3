// `npm run e2e`: the end to end tests on a cluster of real nodes. Prepares what this machine can (programs, images), then
// runs the tests; on the local backend in namespaces of their own. Arguments go to vitest: `-t NAME` runs one test.
// `--hold` instead brings a local cluster up and holds it; `--held` runs tests on that one.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chooseBackend } from './cluster/choose-backend.ts';
import { ClusterError } from './cluster/cluster-error.ts';
import { KindCluster } from './cluster/kind/kind-cluster.ts';
import { enterHeld, readHeld, recordHeld } from './cluster/local/held-cluster.ts';
import { runIsolated } from './cluster/local/isolated-run.ts';
import { beginRun, endRun } from './cluster/local/runs.ts';
import { type Session, sessionEnv } from './cluster/session.ts';
import { buildImages } from './images/build-images.ts';
import { findGatewayCrds } from './kubernetes/gateway-crds.ts';
import { findClusterPrograms, findKubectl } from './kubernetes/programs.ts';
import { RigError } from './kubernetes/rig-error.ts';
import { profileImage } from './suites/routing/profile-image.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
/** A folder each run: two runs at once keep theirs. */
const failuresRoot = join(root, '.weft/e2e-failures');
const failures = join(failuresRoot, new Date().toISOString().replaceAll(/[:.]/g, '-'));
const keptRuns = 5;
const heldFile = join(root, '.weft/e2e-held.json');
const workers = 2;
/** This machine lacks something that the tests take (as in automake). */
const skippedStatus = 77;
const building = { env: process.env, onBuild: say };

function say(text: string): void {
  console.error(`e2e: ${text}`);
}

async function main(filters: readonly string[]): Promise<number> {
  try {
    forgetOldFailures();
    if (filters[0] === '--held') return await runHeld(filters.slice(1));
    const backend = filters[0] === '--hold' ? 'local' : await chooseBackend(process.env);
    say(`backend ${backend}`);
    return backend === 'local' ? await runLocal(filters) : await runKind(filters);
  } catch (error) {
    if (!(error instanceof RigError || error instanceof ClusterError)) throw error;
    const lacking = error.code === 'unsupported' || error.code === 'PROGRAMS_MISSING';
    const skipped = lacking && !process.env['CI'];
    say(skipped ? `not run: ${error.message}` : `failed: ${error.message}`);
    return skipped ? skippedStatus : 1;
  }
}

async function runLocal(filters: readonly string[]): Promise<number> {
  if (process.getuid?.() !== 0) {
    throw new ClusterError('unsupported', 'The local backend needs root; run the same command with sudo');
  }
  const { etcd, kubernetes, coredns } = await findClusterPrograms(building);
  const run = await beginRun();
  try {
    const archive = join(run.directory, 'images.tar');
    await buildImages(archive, { coredns, added: [profileImage] });
    const cluster = { backend: 'local' as const, run, etcd, programs: kubernetes, workers };
    const session = { cluster, images: [archive], failures, ...(await gatewayDefinitions()) };
    const hold = filters[0] === '--hold';
    const program = hold ? [process.execPath, join(root, 'e2e/cluster/hold-main.ts')] : vitest(filters);
    const isolated = runIsolated(program, environment(session));
    if (hold) recordHeld(heldFile, { pid: isolated.pid, session: { ...session, held: true } });
    onSignal(() => isolated.kill());
    return await isolated.ended;
  } finally {
    await endRun(run);
  }
}

async function runKind(filters: readonly string[]): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'weft-e2e-'));
  const options = { name: 'weft-e2e', directory, kubectl: await findKubectl(building), workers };
  const cluster = new KindCluster(options);
  try {
    // What a run left that was killed.
    await cluster.down();
    const archive = join(directory, 'images.tar');
    await buildImages(archive, { added: [profileImage] });
    const described = { backend: 'kind' as const, ...options };
    const session = { cluster: described, images: [archive], failures, ...(await gatewayDefinitions()) };
    return await runPlain(vitest(filters), session);
  } finally {
    await cluster.down();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function runHeld(filters: readonly string[]): Promise<number> {
  const held = readHeld(heldFile);
  return await runPlain([...enterHeld(held), ...vitest(filters)], held.session);
}

function runPlain([program = '', ...args]: readonly string[], session: Session): Promise<number> {
  const child = spawn(program, args, { stdio: 'inherit', env: environment(session) });
  onSignal(() => void child.kill('SIGKILL'));
  return new Promise((resolve) => child.on('exit', (code) => resolve(code ?? 1)));
}

async function gatewayDefinitions(): Promise<Pick<Session, 'gatewayCrds'>> {
  const gatewayCrds = await findGatewayCrds();
  if (gatewayCrds === undefined) say('Gateway API is left out: its Go module could not be fetched');
  return gatewayCrds === undefined ? {} : { gatewayCrds };
}

/** Of the runs before the last few. */
function forgetOldFailures(): void {
  if (!existsSync(failuresRoot)) return;
  const runs = readdirSync(failuresRoot).toSorted();
  for (const name of runs.slice(0, Math.max(0, runs.length + 1 - keptRuns)))
    rmSync(join(failuresRoot, name), { recursive: true, force: true });
}

function vitest(filters: readonly string[]): readonly string[] {
  const program = join(root, 'node_modules/vitest/vitest.mjs');
  const config = join(root, 'e2e/vitest.config.ts');
  return [process.execPath, program, 'run', '--root', root, '--config', config, ...filters];
}

function environment(session: Session): NodeJS.ProcessEnv {
  return { ...process.env, ...sessionEnv(session) };
}

/** However the tests end, this process goes on until what they made is removed. */
function onSignal(end: () => void): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end);
}

process.exitCode = await main(process.argv.slice(2));
