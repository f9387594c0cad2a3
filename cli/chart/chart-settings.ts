// What a user of the Helm chart can choose: for each key of `weft install --set` the name Helm's users expect (camel case)
// and the same rule as a JSON schema, so a bad value ends `helm install` as it ends `weft install`.

import type { InstallSettings } from '../install/settings.ts';

export type SettingKey = keyof InstallSettings;

export interface ChartSetting {
  /** In values.yaml. */
  readonly value: string;
  /** Of values.schema.json. */
  readonly schema: Readonly<Record<string, unknown>>;
  /** What values.yaml says where the installation's default is none, or is no default for a chart. */
  readonly fallback?: unknown;
  /** In place of the setting's own description. */
  readonly description?: string;
}

const text = { type: 'string', minLength: 1 } as const;

const nodePath = { type: 'string', pattern: '^(/[A-Za-z0-9_-][A-Za-z0-9._-]*){1,32}$' } as const;

export const chartSettings: Readonly<Record<SettingKey, ChartSetting>> = {
  namespace: {
    value: 'namespace',
    fallback: '',
    description: 'namespace of the mesh; empty: that of the release (another one is made by the chart)',
    schema: { type: 'string', pattern: '^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$' },
  },
  image: { value: 'image', schema: text },
  'trust-domain': {
    value: 'trustDomain',
    fallback: '',
    description: 'first part of every identity, where no MeshConfig says another; empty: cluster.local',
    schema: { type: 'string', pattern: '^([a-z0-9]([-a-z0-9._]{0,251}[a-z0-9])?)?$' },
  },
  'cluster-id': {
    value: 'clusterId',
    fallback: '',
    description: 'name of this cluster, in metrics and logs; empty: Kubernetes',
    schema: { type: 'string', pattern: '^([A-Za-z0-9][A-Za-z0-9._-]{0,62})?$' },
  },
  'server-name': {
    value: 'serverNames',
    fallback: [],
    schema: { type: 'array', items: { type: 'string', pattern: '^.{1,253}$' } },
  },
  'certificate-life': {
    value: 'certificateLife',
    fallback: null,
    description: 'life of workload certificates in seconds, the most a node gets; null: 86400',
    schema: { type: ['integer', 'null'], minimum: 10, maximum: 604_800 },
  },
  'ca-secret': {
    value: 'caSecret',
    schema: { type: 'string', pattern: '^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$' },
  },
  'log-level': {
    value: 'logLevel',
    fallback: '',
    description: 'trace, debug, info, warn, error or silent; empty: info',
    schema: { enum: ['', 'trace', 'debug', 'info', 'warn', 'error', 'silent'] },
  },
  'log-format': { value: 'logFormat', schema: { enum: ['json', 'text'] } },
  'pull-policy': { value: 'pullPolicy', schema: { enum: ['IfNotPresent', 'Always', 'Never'] } },
  listen: { value: 'listen', schema: { enum: ['0.0.0.0', '::'] } },
  replicas: {
    value: 'replicas',
    fallback: 1,
    description:
      'of the controller; two or more are kept on different nodes and get a PodDisruptionBudget (weft install --ha)',
    schema: { type: 'integer', minimum: 1, maximum: 9 },
  },
  'cpu-request': {
    value: 'cpuRequest',
    schema: { type: ['string', 'integer'], minimum: 0, pattern: '^\\d+m?$' },
  },
  'memory-request': {
    value: 'memoryRequest',
    schema: { type: ['string', 'integer'], minimum: 1, pattern: '^[1-9]\\d*([KMG]i)?$' },
  },
  'memory-limit': {
    value: 'memoryLimit',
    schema: { type: ['string', 'integer'], minimum: 1, pattern: '^[1-9]\\d*([KMG]i)?$' },
  },
  'cni-conf-dir': { value: 'cniConfDir', schema: nodePath },
  'cni-bin-dir': { value: 'cniBinDir', schema: nodePath },
};
