// The quantities of the benchmark: names, units and which way is better. Everything that prints or compares results
// reads this table.

export interface Metric {
  readonly title: string;
  readonly unit: string;
  /** Decimal places in tables. */
  readonly digits: number;
  readonly better: 'higher' | 'lower';
}

const metric = (title: string, unit: string, digits: number, better: Metric['better']): Metric => ({
  title,
  unit,
  digits,
  better,
});

export const metrics = {
  bulk1: metric('bulk, 1 stream', 'Gbit/s', 2, 'higher'),
  bulk1Cpu: metric('proxy CPU, bulk, 1 stream', 's/GB', 2, 'lower'),
  bulk8: metric('bulk, 8 streams', 'Gbit/s', 2, 'higher'),
  bulk8Cpu: metric('proxy CPU, bulk, 8 streams', 's/GB', 2, 'lower'),
  rttP50: metric('64-byte round trip, p50', 'µs', 0, 'lower'),
  rttP99: metric('64-byte round trip, p99', 'µs', 0, 'lower'),
  rttP999: metric('64-byte round trip, p99.9', 'µs', 0, 'lower'),
  rttCpu: metric('proxy CPU a round trip', 'µs', 0, 'lower'),
  connections: metric('new connections', '/s', 0, 'higher'),
  connectionCpu: metric('proxy CPU a connection', 'µs', 0, 'lower'),
  connections8: metric('new connections, 8 clients', '/s', 0, 'higher'),
  connection8Cpu: metric('proxy CPU a connection, 8 clients', 'µs', 0, 'lower'),
  connectionsFork: metric('new connections, forking server', '/s', 0, 'higher'),
  idleMemory: metric('resident, idle (larger side)', 'MB', 1, 'lower'),
  heldMemory: metric('resident, with idle connections (larger side)', 'MB', 1, 'lower'),
  memoryPerConnection: metric('resident per idle connection (larger side)', 'KB', 1, 'lower'),
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof metrics;
export type Figures = Partial<Record<MetricName, number>>;

export const metricNames = Object.keys(metrics) as MetricName[];
