// Gateway API's CRDs out of its Go module, fetched into Go's module cache; nothing of them is copied into this project.

import { join } from 'node:path';
import { run } from './command.ts';

/** v1.7 needs a newer Go than Debian's backports have. */
const version = 'v1.6.3';

/** The module's folder of CRDs, with `standard/` and `experimental/`; undefined without Go or without the module. */
export async function findGatewayCrds(): Promise<string | undefined> {
  const argv = ['go', 'mod', 'download', '-json', `sigs.k8s.io/gateway-api@${version}`];
  const finished = await run(argv, { cwd: '/' }).catch(() => undefined);
  if (finished === undefined || finished.status !== 0) return undefined;
  const { Dir: directory } = JSON.parse(finished.stdout) as { Dir?: string };
  return directory === undefined ? undefined : join(directory, 'config/crd');
}
