// The settings of the node tunnel: from flags, then environment (`WEFT_` and the flag's name), then defaults. All
// problems are reported at once; what comes out is frozen. Nothing else reads process.env.

import { parseArgs } from 'node:util';
import { z } from 'zod';

const milliseconds = (fallback: number, min: number, max: number) =>
  z.coerce.number().int().min(min).max(max).default(fallback);

const schema = z.object({
  node: z.string().min(1, 'the name of this node, as in the manifests'),
  controller: z.string().regex(/^.+:\d{1,5}$/, 'HOST:PORT of the controller'),
  'token-file': z.string().min(1, 'the file with the join token of this node'),
  'root-cert': z.string().min(1, 'the file with the root certificate of the controller'),
  /** Name in the controller's certificate, where it differs from the host dialled. */
  'controller-name': z.string().optional(),
  'cluster-id': z.string().default('Kubernetes'),
  'certificate-ttl': z.coerce.number().int().min(60).max(604_800).default(86_400),
  /** bpffs directory of the capture that outlives the process; `none` for capture that ends with it. */
  'pin-dir': z.string().optional(),
  /** At an orderly end: `keep` the pods captured (and so refused) for the next start, or `release` them. */
  'on-exit': z.enum(['keep', 'release']).default('keep'),
  workers: z.coerce.number().int().min(1).max(64).default(1),
  'admin-port': z.coerce.number().int().min(0).max(65_535).default(15_000),
  'metrics-port': z.coerce.number().int().min(0).max(65_535).default(15_020),
  'readiness-port': z.coerce.number().int().min(0).max(65_535).default(15_021),
  'connect-timeout-ms': milliseconds(10_000, 1, 60_000),
  'handshake-timeout-ms': milliseconds(10_000, 1, 60_000),
  'idle-timeout-ms': milliseconds(0, 0, 2_147_483_647),
  'half-closed-timeout-ms': milliseconds(3_600_000, 1_000, 2_147_483_647),
  'ping-after-ms': milliseconds(10_000, 100, 600_000),
  'ping-timeout-ms': milliseconds(20_000, 100, 600_000),
  'unused-release-ms': milliseconds(300_000, 100, 86_400_000),
  'drain-timeout-ms': milliseconds(25_000, 0, 3_600_000),
  /** Connections and tunnels one worker holds before it stops accepting. */
  'max-connections': z.coerce.number().int().min(1).max(10_000_000).default(200_000),
  /** Bytes that slow readers may hold in one worker, MiB. */
  'buffer-budget-mib': z.coerce.number().int().min(1).max(65_536).default(256),
  'log-level': z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
  'log-format': z.enum(['text', 'json']).default('text'),
});

export type ZtunnelConfig = Readonly<z.infer<typeof schema>>;

/** Every problem of a configuration, each with the flag and what to give it. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Names of the flags, for a command line that hands them through. */
export const flagNames: readonly string[] = Object.keys(schema.shape);

/** @throws ConfigError with all problems at once. */
export function parseConfig(values: Readonly<Record<string, string | undefined>>): ZtunnelConfig {
  const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
  const result = schema.safeParse(given);
  if (result.success) return Object.freeze(result.data);
  throw new ConfigError(result.error.issues.map((issue) => `--${issue.path.join('.')}: ${issue.message}`));
}

/** @throws ConfigError */
export function configFromCommandLine(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
): ZtunnelConfig {
  const options = Object.fromEntries(flagNames.map((name) => [name, { type: 'string' as const }]));
  let flags: Record<string, string | undefined>;
  try {
    flags = parseArgs({ args: [...args], options, strict: true }).values;
  } catch (error) {
    throw new ConfigError([error instanceof Error ? error.message : String(error)]);
  }
  const values = Object.fromEntries(
    flagNames.map((name) => [name, flags[name] ?? environment[variableOf(name)]]),
  );
  return parseConfig(values);
}

function variableOf(flag: string): string {
  return `WEFT_${flag.toUpperCase().replaceAll('-', '_')}`;
}
