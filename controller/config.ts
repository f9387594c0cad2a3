// Settings of the controller: validated all at once, with a problem for each that is wrong, and frozen. Knows nothing
// of where they come from but `controllerArguments`, the options of the command line.

import { hostname, networkInterfaces } from 'node:os';
import type { ParseArgsOptionsConfig } from 'node:util';
import { z } from 'zod';
import { type IpAddress, parseHostPort, parseIpAddress } from '../mesh/model/ip-address.ts';
import { isLogLevel, type LogLevel } from '../mesh/runtime/logger.ts';

export interface ControllerConfig {
  /** Directory of manifests. */
  readonly configDir: string;
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

/** For `parseArgs` of node:util; defaults are those of parseControllerConfig. */
export const controllerArguments = {
  config: { type: 'string' },
  state: { type: 'string' },
  address: { type: 'string' },
  admin: { type: 'string' },
  'cluster-id': { type: 'string' },
  'trust-domain': { type: 'string' },
  'server-name': { type: 'string', multiple: true },
  'certificate-life': { type: 'string' },
  'log-level': { type: 'string' },
  'log-format': { type: 'string' },
} as const satisfies ParseArgsOptionsConfig;

export type ControllerArguments = {
  readonly [K in keyof typeof controllerArguments]?: (typeof controllerArguments)[K] extends {
    multiple: true;
  }
    ? readonly string[]
    : string;
};

const address = z
  .string()
  .refine((text) => splitAddress(text) !== undefined, 'must be IP:PORT, for example 10.0.0.1:15012');
const seconds = z
  .string()
  .regex(/^[0-9]{1,9}$/, 'must be a number of seconds')
  .transform(Number)
  .refine((value) => value >= 10 && value <= 7 * 86_400, 'must be from 10 to 604800 seconds');

const schema = z.object({
  config: z.string('is required: the directory of manifests').min(1),
  state: z.string('is required: the directory for keys and tokens').min(1),
  address: address.default('127.0.0.1:15012'),
  admin: address.default('127.0.0.1:15014'),
  'cluster-id': z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be letters, digits, ".", "_" and "-"')
    .default('Kubernetes'),
  'trust-domain': z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9._]{0,251}[a-z0-9])?$/, 'must be a name like cluster.local')
    .default('cluster.local'),
  'server-name': z.array(z.string().min(1).max(253)).default([]),
  'certificate-life': seconds.default(86_400),
  'log-level': z
    .string()
    .refine(isLogLevel, 'must be one of trace, debug, info, warn, error')
    .default('info'),
  'log-format': z.enum(['json', 'text'], 'must be json or text').default('json'),
});

export type ConfigResult =
  | { readonly ok: true; readonly config: ControllerConfig }
  /** One line for each option that is wrong. */
  | { readonly ok: false; readonly problems: readonly string[] };

export function parseControllerConfig(args: ControllerArguments): ConfigResult {
  const parsed = schema.safeParse(args);
  if (!parsed.success) {
    return {
      ok: false,
      problems: parsed.error.issues.map((issue) => `--${issue.path.join('.')} ${issue.message}`),
    };
  }
  const { data } = parsed;
  const config: ControllerConfig = {
    configDir: data.config,
    stateDir: data.state,
    address: data.address,
    adminAddress: data.admin,
    clusterId: data['cluster-id'],
    trustDomain: data['trust-domain'],
    serverNames: [...new Set([...data['server-name'], ...localNames(data.address)])],
    certificateLifeSeconds: data['certificate-life'],
    minCertificateLifeSeconds: Math.min(60, data['certificate-life']),
    logLevel: data['log-level'],
    logFormat: data['log-format'],
  };
  return { ok: true, config: Object.freeze(config) };
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
