// What was found, for people and for programs. Colour and nothing else depends on whether a person looks at it.

import { type CheckResult, counted, type Finding, isGreen } from './finding.ts';

const marks = { good: '✔', error: '✖', warning: '!' } as const;
const colours = { good: 32, error: 31, warning: 33 } as const;

/** JSON of `{ok, checks: [{group, summary, findings: [{level, where, what, why, fix}]}]}`. */
export function showJson(results: readonly CheckResult[]): string {
  return `${JSON.stringify({ ok: isGreen(results), checks: results }, undefined, 2)}\n`;
}

export function showText(
  results: readonly CheckResult[],
  { isTerminal }: { readonly isTerminal: boolean },
): string {
  const width = Math.max(...results.map(({ group }) => group.length));
  const lines = results.flatMap(({ group, summary, findings }) => [
    `${mark(worst(findings), isTerminal)} ${group.padEnd(width)}  ${summary}`,
    ...findings.flatMap((finding) => findingLines(finding, isTerminal)),
  ]);
  return `${[...lines, '', conclusion(results)].join('\n')}\n`;
}

function worst(findings: readonly Finding[]): keyof typeof marks {
  if (findings.some(({ level }) => level === 'error')) return 'error';
  return findings.length > 0 ? 'warning' : 'good';
}

function findingLines({ level, where, what, why, fix }: Finding, isTerminal: boolean): readonly string[] {
  return [`  ${mark(level, isTerminal)} ${where}: ${what}`, `      why  ${why}`, `      do   ${fix}`];
}

function mark(kind: keyof typeof marks, isTerminal: boolean): string {
  return isTerminal ? `\u001b[${colours[kind]}m${marks[kind]}\u001b[0m` : marks[kind];
}

function conclusion(results: readonly CheckResult[]): string {
  const findings = results.flatMap(({ findings: list }) => list);
  const errors = findings.filter(({ level }) => level === 'error').length;
  const warnings = findings.length - errors;
  const notes = warnings === 0 ? '' : `, ${counted(warnings, 'thing')} to know (!)`;
  return errors === 0 ? `The mesh works${notes}` : `${counted(errors, 'thing')} to repair (✖)${notes}`;
}
