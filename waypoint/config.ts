// The settings of a waypoint: the table that flags, environment, `weft waypoint --help` and errors are made from. Nothing
// else of the waypoint reads process.env.

import type { SocketAddress } from '../mesh/io/socket-address.ts';
import { parseIpAddress } from '../mesh/model/ip-address.ts';
import { serviceKey } from '../mesh/model/key.ts';
import type { GatewayKey } from '../mesh/model/routing.ts';
import type { ServiceKey } from '../mesh/model/service.ts';
import {
  controllerSettings,
  milliseconds,
  processSettings,
  tunnelSettings,
} from '../mesh/proxy/proxy-settings.ts';
import {
  anyText,
  list,
  optional,
  readCommandLine,
  required,
  type SettingsResult,
  type SettingValues,
  type ValueKind,
  wholeNumber,
  withDefault,
} from '../mesh/runtime/settings.ts';

/** Plain connections that are taken for one port of a service. */
export interface PlainListener {
  readonly at: SocketAddress;
  readonly service: ServiceKey;
  readonly port: number;
}

const gateway: ValueKind<GatewayKey> = {
  expects: 'NAMESPACE/NAME of a Gateway',
  read: (text) => (/^[a-z0-9-]{1,63}\/[a-z0-9.-]{1,253}$/.test(text) ? (text as GatewayKey) : undefined),
};

/** Port 0 takes a free one. */
function readAddress(text: string): SocketAddress | undefined {
  const [, bracketed, plain = '', port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const address = parseIpAddress(bracketed ?? plain);
  if (address === undefined || Number(port) > 65_535) return undefined;
  return { address, port: Number(port) };
}

const ipPort: ValueKind<SocketAddress> = {
  expects: 'IP:PORT, for example 192.0.2.1:15008 or [2001:db8::1]:15008',
  read: readAddress,
};

const plainListener: ValueKind<PlainListener> = {
  expects: 'IP:PORT=NAMESPACE/HOSTNAME:PORT',
  read: (text) => {
    const [, at = '', namespace = '', hostname = '', port] =
      /^([^=]+)=([^/=]+)\/([^:/]+):(\d{1,5})$/.exec(text) ?? [];
    const address = readAddress(at);
    const servicePort = Number(port);
    if (address === undefined || !(servicePort >= 1 && servicePort <= 65_535)) return undefined;
    return { at: address, service: serviceKey(namespace, hostname), port: servicePort };
  },
};

export const waypointSettings = {
  gateway: required(gateway, {
    placeholder: 'ns/name',
    description: 'the Gateway that this waypoint serves',
  }),
  ...controllerSettings,
  'hbone-address': optional(ipPort, {
    placeholder: 'ip:port',
    description: 'where tunnels (HBONE) are taken',
    shownFallback: 'every address, port 15008',
  }),
  'plain-listener': list(plainListener, {
    placeholder: 'listener',
    description: 'IP:PORT=NAMESPACE/HOSTNAME:PORT, takes connections without mTLS for one port of a service',
    advanced: true,
  }),
  'state-dir': optional(anyText('a directory, or "none"'), {
    placeholder: 'dir',
    description: 'what is kept across restarts: roots learned in a root rotation; or "none"',
    shownFallback: '/var/lib/weft/waypoint/NAMESPACE.NAME',
  }),
  netns: optional(anyText('the path of a network namespace'), {
    placeholder: 'path',
    description:
      'network namespace to take and make connections in; pages and the controller stay in its own',
    shownFallback: "the process's own",
    advanced: true,
  }),
  network: optional(anyText('the name of a network'), {
    placeholder: 'name',
    description: 'network this waypoint is in, where a mesh has several',
    advanced: true,
  }),
  ...processSettings,
  'connect-timeout-ms': milliseconds(5_000, [1, 60_000], 'TCP connect to an endpoint'),
  'handshake-timeout-ms': milliseconds(5_000, [1, 60_000], 'TLS handshake'),
  'head-timeout-ms': milliseconds(60_000, [100, 600_000], "time for a request's head to come in whole"),
  'idle-timeout-ms': milliseconds(
    3_600_000,
    [0, 2_147_483_647],
    'cuts a request or connection without a byte; 0 never',
  ),
  'keep-alive-timeout-ms': milliseconds(
    3_600_000,
    [100, 2_147_483_647],
    "closes a client's connection that has no request",
  ),
  'half-closed-timeout-ms': milliseconds(
    60_000,
    [1_000, 2_147_483_647],
    'closes a connection that is half closed and silent',
  ),
  'upstream-idle-timeout-ms': milliseconds(
    60_000,
    [100, 2_147_483_647],
    'closes an unused connection to an endpoint',
  ),
  'max-connections': withDefault(wholeNumber(1, 10_000_000), 50_000, {
    placeholder: 'count',
    description: "clients' connections, tunnels and streams of one worker before it stops accepting",
    advanced: true,
  }),
  'max-connections-per-endpoint': withDefault(wholeNumber(1, 65_535), 1_024, {
    placeholder: 'count',
    description: 'HTTP/1.1 connections from one worker to one endpoint',
    advanced: true,
  }),
  ...tunnelSettings,
};

export type WaypointProgramConfig = SettingValues<typeof waypointSettings>;

export interface GatewayName {
  readonly namespace: string;
  readonly name: string;
}

export function gatewayName({ gateway: key }: Pick<WaypointProgramConfig, 'gateway'>): GatewayName {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** Each waypoint of a machine has its own; undefined if nothing is kept. */
export function stateDirectoryOf(
  config: Pick<WaypointProgramConfig, 'gateway' | 'state-dir'>,
): string | undefined {
  const directory = config['state-dir'] ?? `/var/lib/weft/waypoint/${config.gateway.replace('/', '.')}`;
  return directory === 'none' ? undefined : directory;
}

export function waypointConfig(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
): SettingsResult<WaypointProgramConfig> {
  return readCommandLine(waypointSettings, { args, environment });
}
