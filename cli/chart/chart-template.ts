// Templates of the Helm chart, made from what `weft install` renders: settings are rendered with a marker as their value,
// and where a marker, or a line that is there with one choice only, comes out, the template asks Helm's values. So there is
// no second copy of a manifest, and what the templates cannot say ends the generation instead of being left out.

import { type InstallParts, renderPrograms } from '../install/render.ts';
import { type InstallSettings, installSettings } from '../install/settings.ts';
import { chartSettings, type SettingKey } from './chart-settings.ts';
import { diffLines } from './line-diff.ts';

const keys = Object.keys(chartSettings) as SettingKey[];
/** Any count above one stands for all of them. */
const severalReplicas = 8;
const without: InstallParts = { serviceMonitor: false };
const severalCondition = 'gt (int .Values.replicas) 1';
const monitorCondition = '.Values.serviceMonitor';
const namespaceCondition = 'ne (include "weft.namespace" .) .Release.Namespace';

/** Whole objects that are there with one choice only. */
const objectConditions: Readonly<Record<string, string>> = {
  'controller/namespace.yaml': namespaceCondition,
  'optional/pod-disruption-budget.yaml': severalCondition,
  'optional/service-monitor.yaml': monitorCondition,
};

/** Templates by path below manifests/. Throws for what cannot be said in a template. */
export function programTemplates(): ReadonlyMap<string, string> {
  const base = renderPrograms(marked(), without);
  const several = renderPrograms({ ...marked(), replicas: severalReplicas }, without);
  const monitored = renderPrograms(marked(), { serviceMonitor: true });
  const settled = new Map(keys.map((key) => [key, linesWithout(key)]));
  const paths = new Set([...base.keys(), ...several.keys(), ...monitored.keys()]);
  return new Map(
    [...paths].map((path) => {
      const text = base.get(path) ?? several.get(path) ?? monitored.get(path) ?? '';
      const choices = [
        { condition: severalCondition, lines: markReplicas(linesOf(several.get(path) ?? text)) },
        { condition: monitorCondition, lines: linesOf(monitored.get(path) ?? text) },
      ];
      const merged = withChoices(path, linesOf(text), choices);
      const lines = merged.flatMap((line) => templateLines(line, settled));
      return [path, onlyIf(objectConditions[path], `${lines.join('\n')}\n`)];
    }),
  );
}

/** A template that gives `text` only if `condition` holds; undefined: always. */
export function onlyIf(condition: string | undefined, text: string): string {
  return condition === undefined ? text : `{{- if ${condition} }}\n${text}{{- end }}\n`;
}

function marker(key: SettingKey): string {
  return `MARK-${key}-MARK`;
}

/** Every setting with a marker for its value, whatever its type: it is only written down. */
function marked(): InstallSettings {
  const values = keys.map((key) => [key, key === 'server-name' ? [marker(key)] : marker(key)]);
  return Object.fromEntries(values);
}

/** Of everything there can be, with all marked but one setting, which is as if nothing was said about it. */
function linesWithout(key: SettingKey): ReadonlySet<string> {
  const settings = { ...marked(), [key]: installSettings[key].fallback };
  const optional = { ...settings, replicas: severalReplicas };
  const texts = [renderPrograms(settings, without), renderPrograms(optional, { serviceMonitor: true })];
  return new Set(texts.flatMap((files) => [...files.values()].flatMap(linesOf)));
}

function linesOf(text: string): readonly string[] {
  return text.trimEnd().split('\n');
}

function markReplicas(lines: readonly string[]): readonly string[] {
  return lines.map((line) => line.replace(`replicas: ${severalReplicas}`, `replicas: ${marker('replicas')}`));
}

/** Lines that differ in one of the choices, in `if` and `else`. */
function withChoices(
  path: string,
  lines: readonly string[],
  choices: readonly { readonly condition: string; readonly lines: readonly string[] }[],
): readonly string[] {
  const different = choices.filter((choice) => choice.lines.join('\n') !== lines.join('\n'));
  const [choice] = different;
  if (choice === undefined) return lines;
  if (different.length > 1)
    throw new Error(`Manifest "${path}" differs by more than one choice of the chart`);
  return diffLines(lines, choice.lines).flatMap((change) => {
    if (change.kind === 'same') return [change.line];
    const { before, after } = change;
    const [condition, first, second] =
      after.length > 0 ? [choice.condition, after, before] : [`not (${choice.condition})`, before, []];
    const otherwise = second.length > 0 ? ['{{- else }}', ...second] : [];
    return [`{{- if ${condition} }}`, ...first, ...otherwise, '{{- end }}'];
  });
}

/** @param settled all lines of an installation by the setting that is at its default in them */
function templateLines(
  line: string,
  settled: ReadonlyMap<SettingKey, ReadonlySet<string>>,
): readonly string[] {
  const used = keys.filter((key) => line.includes(marker(key)));
  const filled = used.reduce((text, key) => fill(text, key), line);
  const [condition] = used.flatMap((key) => {
    const isThere = settled.get(key)?.has(line.replaceAll(marker(key), `${installSettings[key].fallback}`));
    return isThere === true || key === 'replicas' ? [] : [conditionOf(key)];
  });
  return condition === undefined ? [filled] : [`{{- ${condition} }}`, filled, '{{- end }}'];
}

function conditionOf(key: SettingKey): string {
  const { presence, fallback } = installSettings[key];
  if (presence === 'list') return `range .Values.${chartSettings[key].value}`;
  return fallback === undefined
    ? `if ${valueOf(key)}`
    : `if ne (${valueOf(key)}) ${JSON.stringify(fallback)}`;
}

/** The whole word that a marker is part of, as a quoted string. */
function fill(line: string, key: SettingKey): string {
  if (key === 'replicas') return line.replace(marker(key), '{{ int .Values.replicas }}');
  const word = new RegExp(`[^\\s[\\],"]*${marker(key)}[^\\s[\\],"]*`, 'g');
  return line.replaceAll(word, (found) => {
    const value = valueOf(key);
    if (found === marker(key)) return `{{ ${value} | quote }}`;
    return `{{ printf "${found.replace(marker(key), '%v')}" (${value}) | quote }}`;
  });
}

function valueOf(key: SettingKey): string {
  const { value } = chartSettings[key];
  switch (key) {
    case 'namespace':
      return 'include "weft.namespace" .';
    case 'listen':
      return 'ternary "[::]" .Values.listen (eq .Values.listen "::")';
    case 'server-name':
      return '.';
    case 'certificate-life':
      return `int .Values.${value}`;
    default:
      return `.Values.${value}`;
  }
}
