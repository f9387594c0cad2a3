// The CNI directories of a node: brings their files to a plan of cni-chain.ts, and puts the plugin's program there. At every
// moment each file is whole, as it was or as it is to be; what somebody else wrote meanwhile is never overwritten.

import {
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { exchangeFiles } from '../mesh/io/exchange-files.ts';
import {
  type ChainPlan,
  type ConfigFiles,
  isConfigFile,
  planChain,
  planRemoval,
  pluginName,
} from './cni-chain.ts';

export interface CniDirectories {
  /** Of configurations, usually `/etc/cni/net.d`. */
  readonly conf: string;
  /** Of programs, usually `/opt/cni/bin`. */
  readonly bin: string;
}

/** Somebody who writes all the time is given up on; the next look tries again. */
const attempts = 5;

/** Puts our plugin into the runtime's chain. Says which files changed. Throws when a file can not be read or written. */
export function chainPlugin(directory: string): ChainPlan {
  return bring(directory, planChain);
}

/** Takes our plugin out of every chain, then its program away. Idempotent. */
export function removePlugin({ conf, bin }: CniDirectories): void {
  bring(conf, planRemoval);
  rmSync(join(bin, pluginName), { force: true });
}

/** Copies the program `from` to where the runtime looks for it, unless it is there. */
export function installProgram(from: string, bin: string): void {
  const target = join(bin, pluginName);
  const program = readFileSync(from);
  if (readIfThere(target)?.equals(program) === true && (statSync(target).mode & 0o111) === 0o111) return;
  mkdirSync(bin, { recursive: true });
  const temporary = join(bin, `.${pluginName}.new`);
  writeSynced(temporary, program, 0o755);
  renameSync(temporary, target);
}

function bring(directory: string, plan: (files: ConfigFiles) => ChainPlan): ChainPlan {
  for (let attempt = 1; ; attempt++) {
    const files = readConfigs(directory);
    const wanted = plan(files);
    const done = [...wanted.changes].every(([name, text]) =>
      change(join(directory, name), { from: files.get(name), to: text }),
    );
    if (done || attempt === attempts) return wanted;
  }
}

function readConfigs(directory: string): ConfigFiles {
  const files = new Map<string, string>();
  for (const name of readdirSync(directory).filter(isConfigFile)) {
    const content = readIfThere(join(directory, name));
    if (content !== undefined) files.set(name, content.toString());
  }
  return files;
}

/** False: it was not `from` any more, and is now what somebody else made of it. */
function change(path: string, { from, to }: { from: string | undefined; to: string | undefined }): boolean {
  if (to === undefined) {
    rmSync(path, { force: true });
    return true;
  }
  const temporary = path.replace(/([^/]+)$/, '.$1.weft');
  if (from === undefined) {
    writeSynced(temporary, Buffer.from(to), 0o644);
    renameSync(temporary, path);
    return true;
  }
  try {
    writeSynced(temporary, Buffer.from(to), statSync(path).mode & 0o777);
    exchangeFiles(temporary, path);
    const replaced = readIfThere(temporary)?.toString();
    if (replaced === from) return true;
    giveBack(path, temporary, { placed: to, replaced });
    return false;
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Whoever wrote last has the place in the end: also who wrote while it was given back. */
function giveBack(
  path: string,
  temporary: string,
  { placed, replaced }: { placed: string | undefined; replaced: string | undefined },
): void {
  for (let i = 0; i < attempts; i++) {
    exchangeFiles(temporary, path);
    const found = readIfThere(temporary)?.toString();
    if (found === placed) return;
    placed = replaced;
    replaced = found;
  }
}

/** On the disk before it has its name: an empty file would leave the node without a network after a power failure. */
function writeSynced(path: string, content: Buffer, mode: number): void {
  const fd = openSync(path, 'w', mode);
  try {
    fchmodSync(fd, mode);
    for (let at = 0; at < content.length; ) at += writeSync(fd, content, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
