// What the controller's benchmark says: figures, and the arithmetic behind them.

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: 'ms' | 'MB' | '%' | '';
  /** At most this. */
  readonly target?: number;
}

/** Nearest rank: a value that was measured. NaN of none. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? Number.NaN;
}

/** By how much a counter grew; one that is not there yet is 0. */
export function grown(
  name: string,
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): number {
  return (after.get(name) ?? 0) - (before.get(name) ?? 0);
}

export function mb(bytes: number): number {
  return bytes / 1e6;
}

/** One line: name, value, and how that stands against the target. */
export function formatFigure({ name, value, unit, target }: Figure): string {
  const number = value.toFixed(value < 10 && !Number.isInteger(value) ? 1 : 0);
  const against =
    target === undefined ? '' : `   (target ${target} ${unit}: ${value <= target ? 'met' : 'MISSED'})`;
  return `${name.padEnd(48)} ${number.padStart(8)} ${unit.padEnd(2)}${against}`;
}
