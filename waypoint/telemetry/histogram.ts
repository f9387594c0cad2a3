// Counters of a histogram with Istio's (Envoy's) bounds, which serve durations in ms and sizes in bytes alike. A plain
// Float64Array, so that it survives a structured clone and two of them add up by position.

/** Upper bounds, inclusive; the last bucket has none. */
const bounds = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000,
  1_800_000, 3_600_000,
] as const;

/** Observations by bucket, and behind them their sum. */
export type Histogram = Float64Array;

const sumAt = bounds.length + 1;

export function makeHistogram(): Histogram {
  return new Float64Array(bounds.length + 2);
}

/** @param value 0 or more */
export function observe(histogram: Histogram, value: number): void {
  let bucket = 0;
  while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
  histogram[bucket] = (histogram[bucket] as number) + 1;
  histogram[sumAt] = (histogram[sumAt] as number) + value;
}

export function addHistogram(into: Histogram, from: Histogram): void {
  for (let i = 0; i < into.length; i++) into[i] = (into[i] as number) + (from[i] as number);
}

/** Samples of OpenMetrics text: cumulative buckets, count and sum. `labels` are formatted; not empty. */
export function formatHistogram(name: string, labels: string, histogram: Histogram): string {
  let text = '';
  let cumulative = 0;
  for (let i = 0; i < bounds.length; i++) {
    cumulative += histogram[i] as number;
    text += `${name}_bucket{${labels},le="${bounds[i]}"} ${cumulative}\n`;
  }
  cumulative += histogram[bounds.length] as number;
  text += `${name}_bucket{${labels},le="+Inf"} ${cumulative}\n`;
  return `${text}${name}_sum{${labels}} ${histogram[sumAt]}\n${name}_count{${labels}} ${cumulative}\n`;
}
