// Which backend a machine gets: kind where docker and kind work, else local. WEFT_E2E_BACKEND overrides it.

import { run } from '../kubernetes/command.ts';
import type { Backend } from './cluster.ts';
import { ClusterError } from './cluster-error.ts';

export async function chooseBackend(env: NodeJS.ProcessEnv): Promise<Backend> {
  const wish = env['WEFT_E2E_BACKEND'];
  if (wish === 'local' || wish === 'kind') return wish;
  if (wish !== undefined && wish !== '') {
    throw new ClusterError('unsupported', `WEFT_E2E_BACKEND is local or kind, got "${wish}"`);
  }
  // A docker without its daemon is no docker.
  return (await works(['docker', 'info'])) && (await works(['kind', 'version'])) ? 'kind' : 'local';
}

async function works(argv: readonly string[]): Promise<boolean> {
  return await run(argv).then(
    ({ status }) => status === 0,
    () => false,
  );
}
