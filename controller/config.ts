// Settings of the controller: the table they are read by, validated all at once, with a problem for each that is wrong,
// and frozen. Nothing else of the controller reads process.env.

import { hostname, networkInterfaces } from 'node:os';
import { type IpAddress, parseHostPort, parseIpAddress } from '../mesh/model/ip-address.ts';
import type { LogLevel } from '../mesh/runtime/logger.ts';
import {
  anyText,
  type Environment,
  type FlagValues,
  list,
  logLevels,
  oneOf,
  optional,
  readCommandLine,
  readSettings,
  required,
  type SettingsResult,
  type SettingValues,
  type ValueKind,
  withDefault,
  wholeNumber,
} from '../mesh/runtime/settings.ts';

/** Where resources come from. */
export type SourceConfig =
  | {
      readonly kind: 'directory';
      readonly path: string;
      /** Files of a CA that was given; undefined: the mesh makes its own root. */
      readonly caDirectory: string | undefined;
    }
  | {
      readonly kind: 'cluster';
      /** Undefined: the ServiceAccount of the pod this runs in. */
      readonly kubeconfig: string | undefined;
      /** The controller's own namespace: leader lease, CA secret, service accounts of node tunnels. */
      readonly namespace: string;
      /** Secret of that namespace with a CA that was given; without it the mesh makes its own root. */
      readonly caSecret: string;
      /** Runs waypoints; undefined: the controller deploys none. */
      readonly waypointImage: string | undefined;
    };

export interface ControllerConfig {
  readonly source: SourceConfig;
  /** Directory of the CA's keys, join tokens and root certificate. */
  readonly stateDir: string;
  /** Where nodes connect, `IP:PORT`; port 0 takes any free one. */
  readonly address: string;
  /** Metrics, health and dumps; keep it on loopback, it has no authentication. */
  readonly adminAddress: string;
  readonly clusterId: string;
  readonly trustDomain: string;
  /** DNS names and addresses in the server's certificate: what nodes may dial. */
  readonly serverNames: readonly string[];
  /** Life of certificates in seconds: what a node gets that asks for none, and the most it gets. */
  readonly certificateLifeSeconds: number;
  /** Shortest life a node may ask for, in seconds. */
  readonly minCertificateLifeSeconds: number;
  readonly logLevel: LogLevel;
  readonly logFormat: 'json' | 'text';
}

const address: ValueKind<string> = {
  expects: 'IP:PORT, for example 192.0.2.10:15012 or [::1]:15012',
  read: (text) => (splitAddress(text) === undefined ? undefined : text),
};

/** The table that flags, environment, `weft controller --help` and errors are made from. */
export const controllerSettings = {
  config: optional(anyText('a directory'), {
    placeholder: 'dir',
    description: 'directory of manifests; changes take effect at once',
  }),
  kubeconfig: optional(anyText('a file, or "in-cluster"'), {
    placeholder: 'file',
    description: 'read this cluster instead of a directory; "in-cluster" for the one this pod is in',
  }),
  namespace: withDefault(
    matching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'a namespace like "weft-system"'),
    'weft-system',
    { placeholder: 'name', description: 'namespace of the controller in that cluster' },
  ),
  ca: optional(anyText('a directory or the name of a Secret'), {
    placeholder: 'place',
    description: 'a given CA: directory with --config, Secret with --kubeconfig (default cacerts)',
  }),
  state: required(anyText('a directory'), {
    placeholder: 'dir',
    description: 'directory for the root certificate, its key, and join tokens',
  }),
  address: withDefault(address, '127.0.0.1:15012', {
    placeholder: 'ip:port',
    description: 'where nodes connect to; port 0 takes a free one',
  }),
  admin: withDefault(address, '127.0.0.1:15014', {
    placeholder: 'ip:port',
    description: 'metrics, health and dumps, without authentication',
  }),
  'cluster-id': withDefault(
    matching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'a name like "Kubernetes"'),
    'Kubernetes',
    {
      placeholder: 'id',
      description: 'name of this cluster, in metrics and logs',
    },
  ),
  'trust-domain': withDefault(
    matching(/^[a-z0-9]([-a-z0-9._]{0,251}[a-z0-9])?$/, 'a name like "cluster.local"'),
    'cluster.local',
    { placeholder: 'name', description: 'first part of every identity, where no MeshConfig says another' },
  ),
  'server-name': list(
    { expects: 'names or addresses', read: (text) => (/^.{1,253}$/.test(text) ? text : undefined) },
    { placeholder: 'name', description: 'further names and addresses by which nodes dial it' },
  ),
  'certificate-life': withDefault(wholeNumber(10, 604_800, 'seconds'), 86_400, {
    placeholder: 'seconds',
    description: 'life of workload certificates, the most a node gets',
  }),
  'waypoint-image': optional(anyText('an image'), {
    placeholder: 'image',
    description: 'in a cluster: run a waypoint of this image for each Gateway; without it none is deployed',
  }),
  'log-level': withDefault(logLevels, 'info', {
    placeholder: 'level',
    description: 'trace, debug, info, warn, error or silent',
  }),
  'log-format': withDefault(oneOf('text', 'json'), 'text', {
    placeholder: 'format',
    description: 'text or json, on standard output',
  }),
};

export type ConfigResult =
  | { readonly ok: true; readonly config: ControllerConfig }
  /** One line for each setting that is wrong. */
  | { readonly ok: false; readonly problems: readonly string[] };

/** From the arguments of the process and its environment. */
export function controllerConfig(
  args: readonly string[],
  environment: Environment = process.env,
): ConfigResult {
  return completed(readCommandLine(controllerSettings, { args, environment }));
}

/** From flags alone. */
export function parseControllerConfig(flags: FlagValues): ConfigResult {
  return completed(readSettings(controllerSettings, { flags, environment: {} }));
}

function completed(read: SettingsResult<SettingValues<typeof controllerSettings>>): ConfigResult {
  if (!read.ok) return read;
  const { values } = read;
  const source = sourceOf(values);
  if (source === undefined) {
    const either = 'either --config <dir> or --kubeconfig <file> says where resources come from';
    const both = values.config !== undefined;
    return {
      ok: false,
      problems: [
        both ? `--config and --kubeconfig exclude each other: ${either}` : `--config is missing: ${either}`,
      ],
    };
  }
  const config: ControllerConfig = {
    source,
    stateDir: values.state,
    address: values.address,
    adminAddress: values.admin,
    clusterId: values['cluster-id'],
    trustDomain: values['trust-domain'],
    serverNames: [...new Set([...values['server-name'], ...localNames(values.address)])],
    certificateLifeSeconds: values['certificate-life'],
    minCertificateLifeSeconds: Math.min(60, values['certificate-life']),
    logLevel: values['log-level'],
    logFormat: values['log-format'],
  };
  return { ok: true, config: Object.freeze(config) };
}

function sourceOf({
  config,
  kubeconfig,
  namespace,
  ca,
  'waypoint-image': waypointImage,
}: SettingValues<typeof controllerSettings>): SourceConfig | undefined {
  if (config !== undefined)
    return kubeconfig === undefined ? { kind: 'directory', path: config, caDirectory: ca } : undefined;
  if (kubeconfig === undefined) return undefined;
  const file = kubeconfig === 'in-cluster' ? undefined : kubeconfig;
  return { kind: 'cluster', kubeconfig: file, namespace, caSecret: ca ?? 'cacerts', waypointImage };
}

function matching(pattern: RegExp, expects: string): ValueKind<string> {
  return { expects, read: (text) => (pattern.test(text) ? text : undefined) };
}

/** Host and port of `IP:PORT`, where port 0 means any free one. */
export function splitAddress(text: string): { readonly ip: IpAddress; readonly port: number } | undefined {
  const any = text.endsWith(':0');
  const parsed = parseHostPort(any ? text.replace(/:0$/, ':1') : text);
  const ip = parsed === undefined ? undefined : parseIpAddress(parsed.host);
  return parsed === undefined || ip === undefined ? undefined : { ip, port: any ? 0 : parsed.port };
}

/** The names a node on this machine or in its networks would dial. */
function localNames(listen: string): readonly string[] {
  const ip = splitAddress(listen)?.ip;
  const names = ['localhost', '127.0.0.1', '::1', 'weft-controller.weft-system.svc'];
  if (/^[A-Za-z0-9.-]+$/.test(hostname())) names.push(hostname());
  if (ip === undefined) return names;
  if (ip !== '0.0.0.0' && ip !== '::') return [...names, ip];
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return [
    ...names,
    ...interfaces.map(({ address: text }) => text).filter((text) => parseIpAddress(text) !== undefined),
  ];
}
