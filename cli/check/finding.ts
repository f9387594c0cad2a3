// What a check says: one line when all is well, or findings, each with where it is, why it matters and what to do.

export interface Finding {
  /** A warning does not make a mesh count as broken. */
  readonly level: 'error' | 'warning';
  /** The object or node. */
  readonly where: string;
  readonly what: string;
  readonly why: string;
  /** A command, or what to change. */
  readonly fix: string;
}

export interface CheckResult {
  /** Short, for the first column. */
  readonly group: string;
  /** What was looked at, with counts. */
  readonly summary: string;
  readonly findings: readonly Finding[];
}

export function isGreen(results: readonly CheckResult[]): boolean {
  return results.every(({ findings }) => findings.every(({ level }) => level === 'warning'));
}

/** `a, b, c and 4 more`: at most `shown` of them. */
export function someOf(names: readonly string[], shown = 5): string {
  const rest = names.length - shown;
  return rest > 0 ? `${names.slice(0, shown).join(', ')} and ${rest} more` : names.join(', ');
}

/** `1 node`, `2 nodes`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** `3 s`, `5 min`, `7 h`, `9 d`: rounded down. */
export function duration(ms: number): string {
  const seconds = Math.floor(Math.abs(ms) / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
