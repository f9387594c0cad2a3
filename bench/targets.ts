// What the benchmark is to show, and whether a run showed it. The numbers are the project's own goals for its node tunnel:
// between nodes against the better of two compiled pairs, on one node against no mesh.

import { type MetricName, metrics } from './metrics.ts';
import type { PeerName } from './peers/peer.ts';
import { medianOf, type Ratio, ratioOf, type Results } from './results.ts';

/** `base` undefined: the figure itself. */
interface Target extends Omit<Ratio, 'base'> {
  readonly metric: MetricName;
  readonly base?: Ratio['base'];
  /** At least where higher is better, else at most. */
  readonly bound: number;
}

const pairs = ['nginx', 'haproxy'] as const;
const weft = 'weft';

const targets: readonly Target[] = [
  { metric: 'bulk1', peer: weft, base: pairs, bound: 1.15 },
  { metric: 'bulk8', peer: weft, base: pairs, bound: 1.15 },
  { metric: 'bulk1Cpu', peer: weft, base: 'nginx', bound: 0.75 },
  { metric: 'rttP50', peer: weft, base: pairs, bound: 0.95 },
  { metric: 'rttP99', peer: weft, base: pairs, bound: 1 },
  { metric: 'rttP999', peer: weft, base: pairs, bound: 1.2 },
  { metric: 'connections', peer: weft, base: 'nginx', bound: 4 },
  { metric: 'connections', peer: weft, base: 'none', bound: 0.6 },
  { metric: 'connectionCpu', peer: weft, bound: 300 },
  { metric: 'idleMemory', peer: weft, bound: 75 },
  { metric: 'memoryPerConnection', peer: weft, bound: 12 },
  { metric: 'bulk1', peer: 'weft-near', base: 'none-near', bound: 0.95 },
  { metric: 'rttP50', peer: 'weft-near', base: 'none-near', bound: 1.05 },
  { metric: 'connections', peer: 'weft-near', base: 'none-near', bound: 0.9 },
];

/** Rows of cells, the first one the head; targets that the run did not measure are left out. */
export function targetRows(results: Results): string[][] {
  const rows = targets.flatMap((target) => {
    const value =
      target.base === undefined
        ? medianOf(results, target.peer, target.metric)
        : ratioOf(results, target.metric, { peer: target.peer, base: target.base });
    return value === undefined ? [] : [row(target, value)];
  });
  return [['', 'target', 'measured', ''], ...rows];
}

function row({ metric, peer, base, bound }: Target, value: number): string[] {
  const { title, unit, digits, better } = metrics[metric];
  const [sign, met] = better === 'higher' ? ['≥', value >= bound] : ['≤', value <= bound];
  const place = peer === 'weft-near' ? ', one node' : '';
  const what = base === undefined ? `${title}, ${unit}` : `${title}${place}: of ${nameOf(base)}`;
  const text = value.toFixed(base === undefined ? digits : 2);
  return [what, `${sign} ${bound}`, text, met ? 'met' : 'missed'];
}

function nameOf(base: PeerName | readonly PeerName[]): string {
  if (typeof base !== 'string') return 'the better pair';
  return base === 'nginx' ? 'nginx' : 'no mesh';
}
