// The settings of the node tunnel: the table that flags, environment, `weft ztunnel --help` and errors are made from.
// Nothing else of the node tunnel reads process.env.

import {
  anyText,
  logLevels,
  oneOf,
  optional,
  readCommandLine,
  required,
  type SettingsResult,
  type SettingValues,
  wholeNumber,
  withDefault,
} from '../mesh/runtime/settings.ts';

const directory = anyText('a directory, or "none"');
const port = wholeNumber(0, 65_535);

function milliseconds(fallback: number, [min, max]: readonly [number, number], description: string) {
  const kind = wholeNumber(min, max, 'milliseconds');
  return withDefault(kind, fallback, { placeholder: 'ms', description, advanced: true });
}

export const ztunnelSettings = {
  node: required(anyText('the name of this node'), {
    placeholder: 'name',
    description: 'name of this node, as in the manifests',
  }),
  controller: required(
    {
      expects: 'HOST:PORT, for example controller.example:15012',
      read: (text) => (/^.+:\d{1,5}$/.test(text) ? text : undefined),
    },
    { placeholder: 'host:port', description: 'where the controller listens' },
  ),
  'token-file': required(anyText('a file'), {
    placeholder: 'file',
    description: "file with this node's join token",
  }),
  'root-cert': required(anyText('a file'), {
    placeholder: 'file',
    description: "root-cert.pem of the controller's state directory",
  }),
  workers: withDefault(wholeNumber(1, 64), 1, { placeholder: 'count', description: 'data threads' }),
  'on-exit': withDefault(oneOf('keep', 'release'), 'keep', {
    placeholder: 'what',
    description: 'asked to end: "keep" pods captured, and so refused, for the next start, or "release" them',
  }),
  'pin-dir': optional(directory, {
    placeholder: 'dir',
    description: 'bpffs directory of the capture that outlives the process, or "none"',
    shownFallback: '/sys/fs/bpf/weft/NODE',
  }),
  'state-dir': optional(directory, {
    placeholder: 'dir',
    description: 'what is kept across restarts: roots learned in a root rotation; or "none"',
    shownFallback: '/var/lib/weft/ztunnel/NODE',
  }),
  'certificate-life': withDefault(wholeNumber(10, 604_800, 'seconds'), 86_400, {
    placeholder: 'seconds',
    description: 'life of workload certificates to ask for; the controller may give less',
  }),
  'log-level': withDefault(logLevels, 'info', {
    placeholder: 'level',
    description: 'trace, debug, info, warn, error or silent',
  }),
  'log-format': withDefault(oneOf('text', 'json'), 'text', {
    placeholder: 'format',
    description: 'text or json, on standard output',
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
  'connect-timeout-ms': milliseconds(10_000, [1, 60_000], 'TCP connect'),
  'handshake-timeout-ms': milliseconds(10_000, [1, 60_000], 'TLS handshake'),
  'idle-timeout-ms': milliseconds(0, [0, 2_147_483_647], 'closes connections without a byte; 0 never'),
  'half-closed-timeout-ms': milliseconds(
    3_600_000,
    [1_000, 2_147_483_647],
    'closes a connection that is half closed and silent',
  ),
  'ping-after-ms': milliseconds(10_000, [100, 600_000], 'a tunnel silent for this long is asked'),
  'ping-timeout-ms': milliseconds(20_000, [100, 600_000], 'a tunnel that was asked and is silent is dead'),
  'unused-release-ms': milliseconds(300_000, [100, 86_400_000], 'an unused tunnel is closed'),
  'drain-timeout-ms': milliseconds(25_000, [0, 3_600_000], 'time for open connections when asked to end'),
  'max-connections': withDefault(wholeNumber(1, 10_000_000), 200_000, {
    placeholder: 'count',
    description: 'connections and tunnels of one worker before it stops accepting',
    advanced: true,
  }),
  'buffer-budget-mib': withDefault(wholeNumber(1, 65_536), 256, {
    placeholder: 'MiB',
    description: 'bytes that slow readers may hold in one worker',
    advanced: true,
  }),
};

export type ZtunnelConfig = SettingValues<typeof ztunnelSettings>;

/** Where the capture of a node is pinned; undefined if it ends with the process. bpffs refuses dots in names. */
export function pinDirectoryOf(config: Pick<ZtunnelConfig, 'node' | 'pin-dir'>): string | undefined {
  const directory = config['pin-dir'] ?? `/sys/fs/bpf/weft/${config.node.replaceAll('.', '-')}`;
  return directory === 'none' ? undefined : directory;
}

export function ztunnelConfig(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
): SettingsResult<ZtunnelConfig> {
  return readCommandLine(ztunnelSettings, { args, environment });
}
