// Builds what there is only as Go modules, as far as it is not there yet: for a run of all tests, so that nothing is compiled
// beside them. A machine that cannot is told so by whoever needs the programs.

import { findGatewayCrds } from './gateway-crds.ts';
import { findClusterPrograms, findHelm } from './programs.ts';
import { RigError } from './rig-error.ts';

const building = { env: process.env, onBuild: (text: string) => console.error(text) };

try {
  await findClusterPrograms(building);
  await findHelm(building);
  await findGatewayCrds();
} catch (error) {
  if (!(error instanceof RigError)) throw error;
  console.error(`Not built: ${error.message}`);
}
