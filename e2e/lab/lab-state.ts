// The state file of a lab under /run/weft-lab: written before each thing is made, so that a later run can remove what
// a crashed one left. Owns the clean-up, which is idempotent; it ends only processes recorded here or running inside
// namespaces recorded here, and removes only namespaces whose names carry the lab's prefix.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command, listNamespaces } from './command.ts';
import { LabError } from './lab-error.ts';
import { identifyProcess, isAlive, type ProcessIdentity, signalProcess } from './process-identity.ts';

const stateDirectory = '/run/weft-lab';

interface StateRecord {
  readonly owner: ProcessIdentity;
  /** Left running on purpose (`--keep`): alive or not, the next start may remove it. */
  kept: boolean;
  readonly processes: ProcessIdentity[];
  /** Files and directories outside the lab's own directory, removed with the lab. */
  readonly paths: string[];
}

export class LabState {
  readonly name: string;
  readonly #record: StateRecord;

  private constructor(name: string, record: StateRecord) {
    this.name = name;
    this.#record = record;
  }

  /**
   * Takes the lab's name for this process, after removing what an ended run left. Throws LabError `busy` when another
   * living process holds it.
   */
  static open(name: string): LabState {
    if (!/^[a-z][a-z0-9]{0,7}$/.test(name)) {
      throw new LabError('command', `A lab's name is 1 to 8 of a-z0-9, got "${name}"`);
    }
    mkdirSync(stateDirectory, { recursive: true, mode: 0o755 });
    const left = readRecord(name);
    if (left !== undefined && !left.kept && left.owner.pid !== process.pid && isAlive(left.owner)) {
      throw new LabError(
        'busy',
        `Another run of "${name}" is going on (pid ${left.owner.pid}); end it first`,
      );
    }
    removeLab(name);
    const owner = identifyProcess(process.pid);
    if (owner === undefined) throw new LabError('command', 'Could not read /proc; is it mounted');
    const state = new LabState(name, { owner, kept: false, processes: [], paths: [] });
    state.#write();
    mkdirSync(state.directory, { recursive: true });
    return state;
  }

  /** Logs, captures and settings of the processes. */
  get directory(): string {
    return labDirectory(this.name);
  }

  /** The name of a namespace of this lab. */
  namespace(host: string): string {
    return `${prefix(this.name)}${host}`;
  }

  addProcess(identity: ProcessIdentity): void {
    this.#record.processes.push(identity);
    this.#write();
  }

  removeProcess(identity: ProcessIdentity): void {
    const index = this.#record.processes.findIndex((other) => other.pid === identity.pid);
    if (index >= 0) this.#record.processes.splice(index, 1);
    this.#write();
  }

  addPath(path: string): void {
    this.#record.paths.push(path);
    this.#write();
  }

  keep(): void {
    this.#record.kept = true;
    this.#write();
  }

  /** Removes everything of this lab; its directory stays when `keepFiles`, for reading logs after a failure. */
  remove(options: { readonly keepFiles?: boolean } = {}): void {
    removeLab(this.name, options);
  }

  #write(): void {
    const file = stateFile(this.name);
    writeFileSync(`${file}.new`, JSON.stringify(this.#record), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
}

/** Removes everything a lab of this name left, from this run or an earlier one. Safe to call at any time. */
export function removeLab(name: string, options: { readonly keepFiles?: boolean } = {}): void {
  const record = readRecord(name);
  for (const identity of record?.processes ?? []) signalProcess(identity, 'SIGKILL');
  const namespaces = listNamespaces().filter((namespace) => namespace.startsWith(prefix(name)));
  for (const namespace of namespaces) removeNamespace(namespace);
  for (const path of record?.paths ?? []) rmSync(path, { recursive: true, force: true });
  if (!options.keepFiles) rmSync(labDirectory(name), { recursive: true, force: true });
  rmSync(stateFile(name), { force: true });
}

/** Ends what still runs inside a namespace, then removes it with its links. */
function removeNamespace(namespace: string): void {
  for (const line of command(['ip', 'netns', 'pids', namespace]).split('\n')) {
    const identity = identifyProcess(Number(line));
    // A process that has merely visited by setns (this one, too) is not the namespace's.
    if (line !== '' && identity !== undefined && identity.pid !== process.pid)
      signalProcess(identity, 'SIGKILL');
  }
  command(['ip', 'netns', 'delete', namespace]);
  rmSync(join('/etc/netns', namespace), { recursive: true, force: true });
}

/** Names of labs that left a state file. */
export function leftoverLabs(): string[] {
  if (!existsSync(stateDirectory)) return [];
  return readdirSync(stateDirectory)
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length));
}

function readRecord(name: string): StateRecord | undefined {
  try {
    return JSON.parse(readFileSync(stateFile(name), 'utf8')) as StateRecord;
  } catch {
    return undefined;
  }
}

function stateFile(name: string): string {
  return join(stateDirectory, `${name}.json`);
}

function labDirectory(name: string): string {
  return join(stateDirectory, name);
}

function prefix(name: string): string {
  return `weft-${name}-`;
}
