// Results as a table: for the terminal as columns, for the docs as Markdown between two marker comments.

import { readFileSync, writeFileSync } from 'node:fs';
import { BenchError } from './bench-error.ts';
import { type MetricName, metrics } from './metrics.ts';
import type { PeerName } from './peers/peer.ts';
import { measuredMetrics, medianOf, type Ratio, ratioOf, type Results } from './results.ts';
import { targetRows } from './targets.ts';

const begin = (name: string, command: string): string =>
  `<!-- ${name} table begin: written by npm run ${command} --write-docs -->`;
const end = (name: string): string => `<!-- ${name} table end -->`;

interface Column extends Ratio {
  readonly title: string;
}

const pairs = ['nginx', 'haproxy'] as const;
const betweenNodes: readonly PeerName[] = ['none', ...pairs, 'weft'];
const others: readonly PeerName[] = ['weft-2', 'none-near', 'weft-near'];

/** Between two nodes, one worker; the first row is the head. */
export function tableRows(results: Results): string[][] {
  return rows(results, betweenNodes, [
    { title: 'Weft / nginx', peer: 'weft', base: 'nginx' },
    { title: 'Weft / better pair', peer: 'weft', base: pairs },
    { title: 'Weft / no mesh', peer: 'weft', base: 'none' },
  ]);
}

/** Two workers, and two pods of one node. */
export function otherRows(results: Results): string[][] {
  return rows(results, others, [
    { title: '2 workers / 1', peer: 'weft-2', base: 'weft' },
    { title: 'Weft / no mesh, one node', peer: 'weft-near', base: 'none-near' },
  ]);
}

/** Only of what was measured; no rows where nothing was. */
function rows(results: Results, columns: readonly PeerName[], ratios: readonly Column[]): string[][] {
  const measured = new Set(Object.keys(results.peers));
  const peers = columns.filter((peer) => measured.has(peer));
  if (peers.length === 0) return [];
  const shown = ratios.filter(({ peer, base }) => [peer, base].flat().every((name) => measured.has(name)));
  const head = ['', ...peers.map((peer) => results.peers[peer] ?? peer), ...shown.map(({ title }) => title)];
  const body = measuredMetrics(results, peers).map((metric) => [
    `${metrics[metric].title}, ${metrics[metric].unit}`,
    ...peers.map((peer) => cell(results, peer, metric)),
    ...shown.map((ratio) => ratioOf(results, metric, ratio)?.toFixed(2) ?? '–'),
  ]);
  return [head, ...body];
}

function cell(results: Results, peer: PeerName, metric: MetricName): string {
  // Without a mesh there is no proxy whose time could be counted.
  if ((peer === 'none' || peer === 'none-near') && metrics[metric].title.includes('CPU')) return '–';
  const value = medianOf(results, peer, metric);
  const { digits } = metrics[metric];
  if (value === undefined) return '–';
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function textTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const pad = (text: string, column: number): string =>
    column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
  return rows.map((row) => row.map(pad).join('  ')).join('\n');
}

export function markdownTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = `|${head.map((_, column) => (column === 0 ? '---' : '---:')).join('|')}|`;
  return [line(head), rule, ...body.map(line)].join('\n');
}

/** One sentence that says what the table was taken from. */
export function provenance({ date, machine, rounds, effort }: Results): string {
  const { cpu, cores, kernel, congestionControl, node, openssl, nginx, haproxy, commit } = machine;
  return (
    `Taken ${date.slice(0, 10)} at commit ${commit}: median of ${rounds.length} rounds of ${effort.seconds} s windows, ` +
    `${cores} cores of ${cpu}, Linux ${kernel} (TCP ${congestionControl}), Node ${node} (OpenSSL ${openssl}), nginx ${nginx}, HAProxy ${haproxy}.`
  );
}

export function writeDocsTable(file: string, results: Results): void {
  const tables = [tableRows(results), otherRows(results), targetRows(results)].filter(
    ({ length }) => length > 1,
  );
  const text = [provenance(results), ...tables.map(markdownTable)].join('\n\n');
  replaceTable(file, [begin('bench', 'bench --'), end('bench')], text);
}

/** The table of `npm run bench -- http`; `note` says what it was taken from. */
export function writeHttpTable(file: string, rows: readonly (readonly string[])[], note: string): void {
  replaceTable(file, [begin('http', 'bench -- http'), end('http')], `${note}\n\n${markdownTable(rows)}`);
}

/** Replaces what stands between the markers. Throws BenchError `results` when the file has none. */
function replaceTable(file: string, [begin, end]: readonly [string, string], table: string): void {
  const text = readFileSync(file, 'utf8');
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new BenchError('results', `Found no table markers in "${file}"`);
  writeFileSync(file, `${text.slice(0, from)}${begin}\n${table}\n${text.slice(to)}`);
}
