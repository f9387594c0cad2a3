// The settings of the node tunnel: the table that flags, environment, `weft ztunnel --help` and errors are made from.
// Nothing else of the node tunnel reads process.env.

import {
  controllerSettings,
  milliseconds,
  processSettings,
  tunnelSettings,
} from '../mesh/proxy/proxy-settings.ts';
import {
  anyText,
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

export const ztunnelSettings = {
  node: required(anyText('the name of this node'), {
    placeholder: 'name',
    description: 'name of this node, as in the manifests',
  }),
  ...controllerSettings,
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
  'cni-dir': optional(anyText('a directory'), {
    placeholder: 'dir',
    description: "node directory of the CNI step: the node's /var/lib/weft",
    shownFallback: 'no CNI step',
  }),
  'cni-conf-dir': withDefault(anyText('a directory'), '/etc/cni/net.d', {
    placeholder: 'dir',
    description: 'CNI configurations that the plugin is chained into',
  }),
  'cni-bin-dir': withDefault(anyText('a directory'), '/opt/cni/bin', {
    placeholder: 'dir',
    description: 'CNI programs, where the plugin is put',
  }),
  'remove-node-state': withDefault(oneOf('false', 'true'), 'false', {
    placeholder: 'bool',
    description: '"true": capture nothing; remove all that a node tunnel left on the node, and stay',
    advanced: true,
  }),
  ...processSettings,
  'connect-timeout-ms': milliseconds(10_000, [1, 60_000], 'TCP connect'),
  'handshake-timeout-ms': milliseconds(10_000, [1, 60_000], 'TLS handshake'),
  'idle-timeout-ms': milliseconds(0, [0, 2_147_483_647], 'closes connections without a byte; 0 never'),
  'half-closed-timeout-ms': milliseconds(
    3_600_000,
    [1_000, 2_147_483_647],
    'closes a connection that is half closed and silent',
  ),
  'max-connections': withDefault(wholeNumber(1, 10_000_000), 200_000, {
    placeholder: 'count',
    description: 'connections and tunnels of one worker before it stops accepting',
    advanced: true,
  }),
  ...tunnelSettings,
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
