// Which files of a CNI configuration directory must change so that our plugin is in the chain that the container runtime
// uses, once, after the others; or in none. Pure: texts in, changes out. Container runtimes take the first file in the order
// of names; a single configuration (.conf, .json) is left alone, and a list made of it that sorts before it.

/** Name of the program, and `type` of the plugin. */
export const pluginName = 'weft-cni';

/** File names to texts. */
export type ConfigFiles = ReadonlyMap<string, string>;

export interface ChainPlan {
  /** New texts by name; undefined for a file that goes. */
  readonly changes: ReadonlyMap<string, string | undefined>;
  /** The file that has our plugin once the changes are made. */
  readonly chained?: string;
  /** Why there is none. */
  readonly problem?: string;
}

interface PluginConfig {
  readonly type?: unknown;
}

interface NetworkConfig extends PluginConfig {
  readonly cniVersion?: unknown;
  readonly name?: unknown;
  readonly plugins?: unknown;
}

/** "0" sorts before "conf" and "json". */
const derivedEnding = '.0-weft.conflist';
/** The first version with results that are handed on. */
const leastVersion = [0, 3, 1] as const;

/** Whether a container runtime looks at a file of this name. */
export function isConfigFile(name: string): boolean {
  return /^[^.].*\.(conf|conflist|json)$/.test(name);
}

export function planChain(files: ConfigFiles): ChainPlan {
  const target = targetOf(files);
  if (target.kind === 'none') return { ...planRemoval(files), problem: 'there is no CNI configuration' };
  if (target.kind === 'problem') return { changes: new Map(), problem: target.problem };
  const changes = new Map(planRemoval(files).changes);
  const { name, text } = target;
  changes.delete(name);
  if (files.get(name) !== text) changes.set(name, text);
  return { changes, chained: name };
}

/** No file has our plugin, and none is of our making. */
export function planRemoval(files: ConfigFiles): ChainPlan {
  const changes = new Map<string, string | undefined>();
  for (const [name, text] of files) {
    if (name.endsWith(derivedEnding)) changes.set(name, undefined);
    else if (name.endsWith('.conflist')) {
      const config = parse(text);
      const without = config === undefined ? undefined : unchained(config);
      if (without !== undefined) changes.set(name, print(without));
    }
  }
  return { changes };
}

type Target =
  | { readonly kind: 'file'; readonly name: string; readonly text: string }
  | { readonly kind: 'none' }
  | { readonly kind: 'problem'; readonly problem: string };

/** What the runtime's file must be named and hold. */
function targetOf(files: ConfigFiles): Target {
  const names = [...files.keys()].filter((name) => isConfigFile(name) && !name.endsWith(derivedEnding));
  for (const name of names.sort(compareBytes)) {
    const text = files.get(name) ?? '';
    const config = parse(text);
    // Somebody may be writing it; the next one is not in its place.
    if (config === undefined) return problem(`${name} is not a JSON object`);
    const isList = name.endsWith('.conflist');
    if (isList ? pluginsOf(config).length === 0 : typeof config.type !== 'string') continue;
    if (!hasResults(config.cniVersion))
      return problem(`${name} has cniVersion ${JSON.stringify(config.cniVersion)}; chains need 0.3.1`);
    if (isList) return { kind: 'file', name, text: isChained(config) ? text : print(chained(config)) };
    const derived = name.replace(/\.(conf|json)$/, derivedEnding);
    return { kind: 'file', name: derived, text: print(listOf(config)) };
  }
  return { kind: 'none' };
}

function problem(text: string): Target {
  return { kind: 'problem', problem: text };
}

function chained(config: NetworkConfig): NetworkConfig {
  const others = pluginsOf(config).filter((plugin) => !isOurs(plugin));
  return { ...config, plugins: [...others, { type: pluginName }] };
}

/** undefined: it has ours nowhere. */
function unchained(config: NetworkConfig): NetworkConfig | undefined {
  const plugins = pluginsOf(config);
  if (!plugins.some(isOurs)) return undefined;
  return { ...config, plugins: plugins.filter((plugin) => !isOurs(plugin)) };
}

function listOf(config: NetworkConfig): NetworkConfig {
  const { cniVersion, name, ...plugin } = config;
  return { cniVersion, name, plugins: [plugin, { type: pluginName }] };
}

function isChained(config: NetworkConfig): boolean {
  return pluginsOf(config).filter(isOurs).length === 1;
}

function isOurs({ type }: PluginConfig): boolean {
  return type === pluginName;
}

function pluginsOf({ plugins }: NetworkConfig): readonly PluginConfig[] {
  return Array.isArray(plugins) && plugins.every(isObject) ? plugins : [];
}

function hasResults(version: unknown): boolean {
  const parts = /^(\d+)\.(\d+)\.(\d+)$/.exec(typeof version === 'string' ? version : '');
  if (parts === null) return false;
  for (const [i, least] of leastVersion.entries()) {
    const part = Number(parts[i + 1]);
    if (part !== least) return part > least;
  }
  return true;
}

function parse(text: string): NetworkConfig | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is PluginConfig {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function print(config: NetworkConfig): string {
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

/** As Go sorts names: not by locale. */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
