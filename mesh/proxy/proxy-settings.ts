// The settings that every proxy has: where its controller is and how they know each other, threads, logs, pages, and the
// times of the data path. Each program spreads them into its own table and may override one.

import {
  anyText,
  logLevels,
  oneOf,
  optional,
  required,
  type Setting,
  wholeNumber,
  withDefault,
} from '../runtime/settings.ts';

const port = wholeNumber(0, 65_535);

/** A rarely changed number of milliseconds. */
export function milliseconds(
  fallback: number,
  [min, max]: readonly [number, number],
  description: string,
): Setting<number> {
  const kind = wholeNumber(min, max, 'milliseconds');
  return withDefault(kind, fallback, { placeholder: 'ms', description, advanced: true });
}

export const controllerSettings = {
  controller: required(
    {
      expects: 'HOST:PORT, for example controller.example:15012',
      read: (text) => (/^.+:\d{1,5}$/.test(text) ? text : undefined),
    },
    { placeholder: 'host:port', description: 'where the controller listens' },
  ),
  'token-file': required(anyText('a file'), {
    placeholder: 'file',
    description: 'file with the join token of this proxy',
  }),
  'root-cert': required(anyText('a file'), {
    placeholder: 'file',
    description: "root-cert.pem of the controller's state directory",
  }),
  'certificate-life': withDefault(wholeNumber(10, 604_800, 'seconds'), 86_400, {
    placeholder: 'seconds',
    description: 'life of workload certificates to ask for; the controller may give less',
  }),
  'controller-name': optional(anyText('a name'), {
    placeholder: 'name',
    description: "name in the controller's certificate, where it differs from the host dialled",
    advanced: true,
  }),
  'cluster-id': withDefault(anyText('a name'), 'Kubernetes', {
    placeholder: 'id',
    description: 'name of the cluster that the controller is told',
    advanced: true,
  }),
};

export const processSettings = {
  workers: withDefault(wholeNumber(1, 64), 1, { placeholder: 'count', description: 'data threads' }),
  'log-level': withDefault(logLevels, 'info', {
    placeholder: 'level',
    description: 'trace, debug, info, warn, error or silent',
  }),
  'log-format': withDefault(oneOf('text', 'json'), 'text', {
    placeholder: 'format',
    description: 'text or json, on standard output',
  }),
  'admin-port': withDefault(port, 15_000, {
    placeholder: 'port',
    description: 'admin pages, on loopback only; 0 takes a free port',
    advanced: true,
  }),
  'metrics-port': withDefault(port, 15_020, {
    placeholder: 'port',
    description: 'metrics; 0 takes a free port',
    advanced: true,
  }),
  'readiness-port': withDefault(port, 15_021, {
    placeholder: 'port',
    description: 'readiness; 0 takes a free port',
    advanced: true,
  }),
};

export const tunnelSettings = {
  'ping-after-ms': milliseconds(10_000, [100, 600_000], 'a tunnel silent for this long is asked'),
  'ping-timeout-ms': milliseconds(20_000, [100, 600_000], 'a tunnel that was asked and is silent is dead'),
  'unused-release-ms': milliseconds(300_000, [100, 86_400_000], 'an unused tunnel is closed'),
  'drain-timeout-ms': milliseconds(25_000, [0, 3_600_000], 'time for open connections when asked to end'),
  'buffer-budget-mib': withDefault(wholeNumber(1, 65_536), 256, {
    placeholder: 'MiB',
    description: 'bytes that slow readers may hold in one worker',
    advanced: true,
  }),
};
