// How a proxy reaches its controller and proves who it is: the same for configuration and for certificates. Token and
// roots are read again at each attempt, so that either can be replaced while the proxy runs.

import { readFileSync } from 'node:fs';
import type { SettingValues } from '../runtime/settings.ts';
import type { ControllerRoots } from './controller-roots.ts';
import type { controllerSettings } from './proxy-settings.ts';

export interface ControllerAccess {
  readonly address: string;
  readonly rootCertificates: () => string;
  readonly serverName?: string;
  readonly token: () => string;
  readonly clusterId: string;
}

export function controllerAccess(
  config: SettingValues<typeof controllerSettings>,
  roots: ControllerRoots,
): ControllerAccess {
  return {
    address: config.controller,
    rootCertificates: () => roots.current(),
    ...(config['controller-name'] === undefined ? {} : { serverName: config['controller-name'] }),
    token: () => readFileSync(config['token-file'], 'utf8').trim(),
    clusterId: config['cluster-id'],
  };
}
