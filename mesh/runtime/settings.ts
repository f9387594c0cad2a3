// Settings of a program from one table: name, meaning, range and default stand there once; flags, environment, help and
// errors are made from it. A flag counts before the environment (`WEFT_` and the name), that before the default. All
// problems are reported at once, each with where the value came from.

import { parseArgs } from 'node:util';

/** What a value is and how it is read. */
export interface ValueKind<T> {
  /** After "must be": `a whole number from 1 to 64`. */
  readonly expects: string;
  /** undefined: `text` is none. */
  readonly read: (text: string) => T | undefined;
}

interface SettingText {
  /** What stands for the value in help: `count` is shown as `<count>`. */
  readonly placeholder: string;
  readonly description: string;
  /** Rarely changed: in a section of its own in help. */
  readonly advanced?: boolean;
}

export interface Setting<T> extends SettingText {
  readonly presence: 'required' | 'optional' | 'list';
  readonly expects: string;
  /** From the values as given, one for all but lists; undefined if one of them is none. */
  readonly read: (texts: readonly string[]) => T | undefined;
  /** The value when none is given. */
  readonly fallback: T | undefined;
  /** For help and documents, absent if there is no default. */
  readonly shownFallback?: string;
}

export type SettingTable = Readonly<Record<string, Setting<unknown>>>;

export type SettingValues<S extends SettingTable> = {
  readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never;
};

/** Values by flag name; a list is a flag given several times. */
export type FlagValues = Readonly<Record<string, string | readonly string[] | undefined>>;

export type Environment = Readonly<Record<string, string | undefined>>;

export type SettingsResult<T> =
  | { readonly ok: true; readonly values: T }
  /** One line for each thing that is wrong. */
  | { readonly ok: false; readonly problems: readonly string[] };

export function withDefault<T>(kind: ValueKind<T>, fallback: T, text: SettingText): Setting<T> {
  const presence = 'optional';
  return {
    ...text,
    presence,
    expects: kind.expects,
    read: one(kind),
    fallback,
    shownFallback: `${fallback}`,
  };
}

export function required<T>(kind: ValueKind<T>, text: SettingText): Setting<T> {
  return { ...text, presence: 'required', expects: kind.expects, read: one(kind), fallback: undefined };
}

/** May be absent; `shownFallback` says what counts then. */
export function optional<T>(
  kind: ValueKind<T>,
  text: SettingText & { readonly shownFallback?: string },
): Setting<T | undefined> {
  return { ...text, presence: 'optional', expects: kind.expects, read: one(kind), fallback: undefined };
}

/** A flag that may be given several times; in the environment its values are separated by commas. */
export function list<T>(kind: ValueKind<T>, text: SettingText): Setting<readonly T[]> {
  return {
    ...text,
    presence: 'list',
    expects: kind.expects,
    read: (texts) => {
      const values = texts.map((item) => kind.read(item)).filter((value) => value !== undefined);
      return values.length === texts.length ? values : undefined;
    },
    fallback: [],
  };
}

export function anyText(expects: string): ValueKind<string> {
  return { expects, read: (text) => (text === '' ? undefined : text) };
}

export function wholeNumber(min: number, max: number, unit = ''): ValueKind<number> {
  return {
    expects: `a whole number${unit === '' ? '' : ` of ${unit}`} from ${min} to ${max}`,
    read(text) {
      const value = Number(text);
      return /^\d{1,15}$/.test(text) && value >= min && value <= max ? value : undefined;
    },
  };
}

export function oneOf<const T extends string>(...values: readonly T[]): ValueKind<T> {
  return {
    expects: `one of ${values.join(', ')}`,
    read: (text) => values.find((value) => value === text),
  };
}

export const logLevels = oneOf('trace', 'debug', 'info', 'warn', 'error', 'silent');

/** The environment variable of a setting: `WEFT_LOG_LEVEL` of `log-level`. */
export function variableOf(name: string): string {
  return `WEFT_${name.toUpperCase().replaceAll('-', '_')}`;
}

/** For parseArgs of node:util; throws for none. */
export function readSettings<S extends SettingTable>(
  table: S,
  { flags, environment }: { readonly flags: FlagValues; readonly environment: Environment },
): SettingsResult<SettingValues<S>> {
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, setting] of Object.entries(table)) {
    const given = valueOf(name, setting, { flags, environment });
    if (given === undefined) {
      if (setting.presence === 'required')
        problems.push(`--${name} (or ${variableOf(name)}) is required: ${setting.description}`);
      values[name] = setting.fallback;
      continue;
    }
    const value = setting.read(given.texts);
    if (value === undefined) {
      const got = given.texts.map((text) => JSON.stringify(text)).join(', ');
      problems.push(`${given.from} must be ${setting.expects}, got ${got}`);
    }
    values[name] = value;
  }
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, values: Object.freeze(values) as SettingValues<S> };
}

/** As readSettings, from the arguments of a process. */
export function readCommandLine<S extends SettingTable>(
  table: S,
  { args, environment }: { readonly args: readonly string[]; readonly environment: Environment },
): SettingsResult<SettingValues<S>> {
  const options = Object.fromEntries(
    Object.entries(table).map(([name, { presence }]) => [
      name,
      { type: 'string' as const, multiple: presence === 'list' },
    ]),
  );
  try {
    const flags = parseArgs({ args: [...args], options, strict: true }).values as FlagValues;
    return readSettings(table, { flags, environment });
  } catch (error) {
    return { ok: false, problems: [error instanceof Error ? error.message : String(error)] };
  }
}

function one<T>(kind: ValueKind<T>): (texts: readonly string[]) => T | undefined {
  return ([text]) => (text === undefined ? undefined : kind.read(text));
}

/** An empty variable counts as none, as in unit files and manifests that leave a value open. */
function valueOf(
  name: string,
  { presence }: Setting<unknown>,
  { flags, environment }: { readonly flags: FlagValues; readonly environment: Environment },
): { readonly from: string; readonly texts: readonly string[] } | undefined {
  const flag = flags[name];
  if (flag !== undefined) return { from: `--${name}`, texts: typeof flag === 'string' ? [flag] : flag };
  const text = environment[variableOf(name)];
  if (text === undefined || text === '') return undefined;
  return { from: variableOf(name), texts: presence === 'list' ? text.split(',') : [text] };
}
