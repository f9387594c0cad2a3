// Builds a program from a pinned Go module and keeps it by the hash of what it is made from, so a change of the pinned
// modules builds again and an unchanged checkout never does.

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { access, constants, mkdir, readFile, rename, unlink } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { run } from './command.ts';
import { RigError } from './rig-error.ts';

export interface GoProgram {
  /** File name of the program. */
  readonly name: string;
  /** First part of the name of its folder in the cache. */
  readonly folder: string;
  /** Where its go.mod, go.sum and source are. */
  readonly module: string;
  /** Name of its test file, of a program that is a suite of tests (`go test -c`); else it is made from main.go. */
  readonly testFile?: string;
  /** Import path of a program that a required module has ready; else it is made from main.go. */
  readonly package?: string;
  /** What people call it, with version. */
  readonly title: string;
  /** How long building takes, for people. */
  readonly duration: string;
  /** For the linker, besides those that leave symbols out. */
  readonly linkerFlags?: string;
}

export interface BuildOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Told before the long part begins. */
  readonly onBuild: (text: string) => void;
}

/** The path of the program; builds it (minutes) unless it is there. Throws RigError. */
export async function builtProgram(program: GoProgram, options: BuildOptions): Promise<string> {
  const cache = options.env['WEFT_CACHE'] ?? '/var/cache/weft';
  const binary = join(cache, `${program.folder}-${await sourceHash(program)}`, program.name);
  if (!existsSync(binary)) await build(program, binary, options);
  return binary;
}

async function build(program: GoProgram, binary: string, { env, onBuild }: BuildOptions): Promise<void> {
  if ((await onPath(env, 'go')) === undefined) {
    const reason = `${program.title} is missing: install Go 1.24 or later, which builds it, or set KUBEBUILDER_ASSETS to a folder that has it`;
    throw new RigError('PROGRAMS_MISSING', reason);
  }
  const directory = join(binary, '..');
  await mkdir(directory, { recursive: true }).catch((cause: NodeJS.ErrnoException) => {
    const reason = `Cannot make the cache folder "${directory}" (${cause.code}): run once as root, or set WEFT_CACHE`;
    throw new RigError('PROGRAMS_MISSING', reason, { cause });
  });
  onBuild(`building ${program.title} from Go modules into ${directory} (${program.duration}, once)`);
  const flags = `-s -w ${program.linkerFlags ?? ''}`;
  // Linked beside and moved into place: a build that was interrupted leaves nothing that looks finished.
  const unfinished = `${binary}.${process.pid}`;
  const verb = program.testFile === undefined ? ['build'] : ['test', '-c'];
  const built = await run(
    [
      'nice',
      '-n',
      '19',
      'go',
      ...verb,
      '-trimpath',
      '-ldflags',
      flags,
      '-o',
      unfinished,
      program.package ?? '.',
    ],
    { cwd: program.module, env: { ...env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly -buildvcs=false' } },
  );
  if (built.status !== 0) {
    await unlink(unfinished).catch(() => {});
    const tail = built.stderr.trimEnd().split('\n').slice(-5).join('\n');
    const reason = `Building ${program.title} failed; is the Go module proxy reachable?\n${tail}`;
    throw new RigError('BUILD_FAILED', reason);
  }
  await rename(unfinished, binary);
}

async function sourceHash({ module, testFile, package: ready }: GoProgram): Promise<string> {
  const hash = createHash('sha256');
  const own = ready === undefined ? [testFile ?? 'main.go'] : [];
  for (const name of ['go.mod', 'go.sum', ...own]) hash.update(await readFile(join(module, name)));
  return hash.digest('hex').slice(0, 16);
}

/** Where a program is that PATH leads to. */
export async function onPath(env: NodeJS.ProcessEnv, name: string): Promise<string | undefined> {
  for (const directory of (env['PATH'] ?? '').split(delimiter)) {
    if (directory !== '' && (await isExecutable(join(directory, name)))) return join(directory, name);
  }
  return undefined;
}

export async function isExecutable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
