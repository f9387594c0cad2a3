// `npm run test:kube`: the tests against a real kube-apiserver and etcd. Finds or builds the programs, then runs vitest
// in namespaces of its own (isolated-run.ts). Arguments go to vitest.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findGatewayCrds } from './gateway-crds.ts';
import { runIsolated } from './isolated-run.ts';
import { findHelm, findPrograms, type Programs } from './programs.ts';
import { RigError } from './rig-error.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const say = (text: string): void => console.error(`test:kube: ${text}`);

async function main(): Promise<number> {
  let programs: Programs;
  let helm: string;
  try {
    programs = await findPrograms({ env: process.env, onBuild: say });
    helm = await findHelm({ env: process.env, onBuild: say });
  } catch (error) {
    if (!(error instanceof RigError)) throw error;
    const mustRun = Boolean(process.env['CI']) || error.code === 'BUILD_FAILED';
    say(mustRun ? `failed: ${error.message}` : `skipped: ${error.message}`);
    return mustRun ? 1 : 0;
  }
  const gatewayCrds = await findGatewayCrds();
  if (gatewayCrds === undefined) say('Gateway API is left out: its Go module could not be fetched');
  const isolation = { programs, helm, ...(gatewayCrds === undefined ? {} : { gatewayCrds }) };
  const vitest = [process.execPath, join(root, 'node_modules/vitest/vitest.mjs'), 'run'];
  const config = ['--root', root, '--config', join(root, 'e2e/kubernetes/vitest.config.ts')];
  return await runIsolated(isolation, [...vitest, ...config, ...process.argv.slice(2)]);
}

process.exitCode = await main();
