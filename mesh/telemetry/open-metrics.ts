// Writes metrics as OpenMetrics text (https://prometheus.io/docs/specs/om/open_metrics_spec/). Knows the syntax only;
// the caller gives families whole, one after the other, as the format demands.

export const openMetricsContentType = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/** The last line of every exposition. */
export const openMetricsEnd = '# EOF\n';

export function escapeLabelValue(value: string): string {
  return /[\\"\n]/.test(value)
    ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
    : value;
}

/** `a="1",b="2"`: the inside of the braces. */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabelValue(value)}"`)
    .join(',');
}

export class OpenMetricsText {
  #lines: string[] = [];
  #family = '';
  #suffix = '';

  /** @param name without the `_total` of a counter. */
  family(name: string, type: 'counter' | 'gauge', help: string): void {
    this.#family = name;
    this.#suffix = type === 'counter' ? '_total' : '';
    this.#lines.push(
      `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
      `# TYPE ${name} ${type}`,
    );
  }

  /** @param labels already formatted and escaped; `''` for none. */
  sample(labels: string, value: number): void {
    const braces = labels === '' ? '' : `{${labels}}`;
    this.#lines.push(`${this.#family}${this.#suffix}${braces} ${value}`);
  }

  /** Without the end line, so that texts can be joined. */
  toString(): string {
    return this.#lines.length === 0 ? '' : `${this.#lines.join('\n')}\n`;
  }
}
