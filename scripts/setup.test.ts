import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const system = [
  'sh',
  'cat',
  'cmp',
  'cp',
  'dirname',
  'flock',
  'grep',
  'mkdir',
  'rm',
  'tail',
  'tr',
  'chmod',
  'uname',
  'id',
];

/** A checkout of its own whose PATH holds only what the test puts there. */
describe('scripts/run.sh', () => {
  let project: string;
  let bin: string;

  beforeEach(() => {
    project = mkdtempSync(join(tmpdir(), 'weft-setup-'));
    bin = join(project, 'bin');
    mkdirSync(bin);
    cpSync(join(import.meta.dirname, 'run.sh'), join(project, 'scripts/run.sh'));
    cpSync(join(import.meta.dirname, 'setup.sh'), join(project, 'scripts/setup.sh'));
    writeFileSync(join(project, 'package-lock.json'), '{"version": 1}');
    for (const name of system) {
      const found = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim();
      symlinkSync(found, join(bin, name));
    }
  });
  afterEach(() => rmSync(project, { recursive: true }));

  function fake(name: string, script: string): void {
    const path = join(bin, name);
    rmSync(path, { force: true });
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
  }

  /** An npm that "installs" a Node which prints its arguments, and counts its calls. */
  function fakeNpm(): void {
    fake('node', 'echo 20');
    fake(
      'npm',
      `[ "$1" = ping ] && exit 0
echo "$*" >> ${project}/npm-calls
mkdir -p node_modules/node/bin
printf '#!/bin/sh\\necho "ran $*"\\n' > node_modules/node/bin/node
chmod 755 node_modules/node/bin/node`,
    );
  }

  function run(...argv: string[]): { status: number | null; out: string; err: string } {
    const { status, stdout, stderr } = spawnSync('/bin/sh', [join(project, 'scripts/run.sh'), ...argv], {
      encoding: 'utf8',
      env: { PATH: bin },
    });
    return { status, out: stdout, err: stderr };
  }

  const npmCalls = (): string[] => readFileSync(join(project, 'npm-calls'), 'utf8').trim().split('\n');

  test('installs node modules once, then runs the program on their Node without a word', () => {
    fakeNpm();
    const first = run('scripts/x.ts', 'a', 'b c');
    expect(first).toMatchObject({ status: 0, err: expect.stringContaining('installing node modules') });
    expect(run('scripts/x.ts', 'a', 'b c')).toEqual({
      status: 0,
      out: `ran ${project}/scripts/x.ts a b c\n`,
      err: '',
    });
    expect(npmCalls()).toHaveLength(1);
  });

  test('installs again when the lock file has changed', () => {
    fakeNpm();
    run('scripts/x.ts');
    writeFileSync(join(project, 'package-lock.json'), '{"version": 2}');
    expect(run('scripts/x.ts').status).toBe(0);
    expect(npmCalls()).toHaveLength(2);
  });

  test.each([
    ['no node', () => undefined, /Found no node; install any Node.js from version 20/],
    ['no npm', () => fake('node', 'echo 22'), /Found no npm/],
    [
      'a Node that is too old',
      () => {
        fake('npm', 'exit 0');
        fake('node', 'echo 18');
      },
      /Found Node 18 .*20 or later/,
    ],
    [
      'no network for npm',
      () => {
        fake('node', 'echo 20');
        fake('npm', '[ "$1" = ping ] && echo "npm error code ENOTFOUND" >&2; exit 1');
      },
      /npm error code ENOTFOUND[^]*Could not reach the npm registry/,
    ],
    [
      'a package npm cannot get',
      () => {
        fake('node', 'echo 20');
        fake('npm', '[ "$1" = ping ] || { echo E404 koffi; exit 1; }');
      },
      /E404 koffi[^]*Could not install the node modules/,
    ],
  ])('says in one clear line that there is %s', (_what, prepare, message) => {
    prepare();
    const { status, err } = run('scripts/x.ts');
    expect(status).toBe(1);
    expect(err).toMatch(message);
  });

  test('says what to do where it is not Linux, or not root', () => {
    fakeNpm();
    fake('id', 'echo 1000');
    expect(run('e2e/demo/main.ts')).toMatchObject({
      status: 1,
      err: expect.stringContaining('run the same command with sudo'),
    });
    fake('uname', 'echo Darwin');
    expect(run('e2e/demo/main.ts')).toMatchObject({
      status: 1,
      err: expect.stringMatching(/needs Linux .* this is Darwin/),
    });
  });

  test('help needs neither root nor Debian packages', () => {
    fakeNpm();
    fake('id', 'echo 1000');
    expect(run('e2e/demo/main.ts', '--help').status).toBe(0);
    expect(run('cli/main.ts', 'ztunnel', '--help').status).toBe(0);
    expect(run('cli/main.ts', 'ztunnel', '--node', 'x').status).toBe(1);
  });

  describe('Debian packages', () => {
    /** Sources setup.sh with a package that is always missing, and runs the step. */
    function install(): { status: number | null; err: string } {
      const script = `root=${project}; . ${project}/scripts/setup.sh
policy=${project}/policy-rc.d
missing_packages() { echo no-such-package; }
setup packages`;
      const { status, stderr } = spawnSync('/bin/sh', ['-eu', '-c', script], {
        encoding: 'utf8',
        env: { PATH: bin },
      });
      return { status, err: stderr };
    }

    test('says what it installs, and forbids services to start meanwhile', () => {
      fake('id', 'echo 0');
      fake(
        'apt-get',
        `cat ${project}/policy-rc.d > ${project}/policy-seen; echo "$*" >> ${project}/apt-calls`,
      );
      expect(install()).toMatchObject({
        status: 0,
        err: 'weft set-up: installing Debian packages: no-such-package\n',
      });
      expect(readFileSync(join(project, 'policy-seen'), 'utf8')).toContain('exit 101');
      expect(() => readFileSync(join(project, 'policy-rc.d'))).toThrow('ENOENT');
      expect(readFileSync(join(project, 'apt-calls'), 'utf8')).toMatch(/^install .* no-such-package\n$/);
    });

    test('updates the package lists only when the first try failed', () => {
      fake('id', 'echo 0');
      fake(
        'apt-get',
        `echo "$1" >> ${project}/apt-calls; [ "$1" = update ] || [ -e ${project}/tried ] || { : > ${project}/tried; exit 100; }`,
      );
      expect(install().status).toBe(0);
      expect(readFileSync(join(project, 'apt-calls'), 'utf8')).toBe('install\nupdate\ninstall\n');
    });

    test.each([
      ['the mirror cannot be reached', () => fake('apt-get', 'echo "Could not resolve host"; exit 100')],
      ['there is no apt-get', () => undefined],
    ])('names the packages to install by hand when %s', (_what, prepare) => {
      fake('id', 'echo 0');
      prepare();
      const { status, err } = install();
      expect(status).toBe(1);
      expect(err).toContain('install by hand: no-such-package');
      expect(() => readFileSync(join(project, 'policy-rc.d'))).toThrow('ENOENT');
    });
  });
});
