// The settings of `weft up`: those of its two programs that matter on one machine, under their own names. The rest
// reaches the programs by the environment. Beside them the one variable that commands for a cluster read. Nothing else of the command line reads process.env.

import { hostname } from 'node:os';
import { controllerSettings } from '../controller/config.ts';
import {
  anyText,
  type Environment,
  type FlagValues,
  readSettings,
  required,
  type SettingsResult,
  type SettingValues,
  withDefault,
} from '../mesh/runtime/settings.ts';
import { ztunnelSettings } from '../ztunnel/config.ts';

export const defaultStateDirectory = '/var/lib/weft';

export const upSettings = {
  config: required(anyText('a directory'), {
    placeholder: 'dir',
    description: 'directory of manifests; changes take effect at once',
  }),
  state: withDefault(anyText('a directory'), defaultStateDirectory, {
    placeholder: 'dir',
    description: controllerSettings.state.description,
  }),
  node: withDefault(anyText('the name of this machine'), hostname().toLowerCase(), {
    placeholder: 'name',
    description: 'name of this machine in the manifests (spec.nodeName)',
  }),
  address: controllerSettings.address,
  admin: controllerSettings.admin,
  workers: ztunnelSettings.workers,
  'certificate-life': controllerSettings['certificate-life'],
  'log-level': ztunnelSettings['log-level'],
  'log-format': ztunnelSettings['log-format'],
};

export type UpConfig = SettingValues<typeof upSettings>;

export function upConfig(
  flags: FlagValues,
  environment: Environment = process.env,
): SettingsResult<UpConfig> {
  return readSettings(upSettings, { flags, environment });
}

/** What kubectl would take: files of kubeconfigs, `''` for none. */
export function kubeconfigVariable(environment: Environment = process.env): string {
  return environment['KUBECONFIG'] ?? '';
}
