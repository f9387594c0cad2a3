import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../runtime/clock.ts';
import { createLogger } from '../runtime/logger.ts';
import { createCsr } from '../tls/csr.ts';
import { TestCa } from '../tls/testing/test-ca.ts';
import { ControllerRoots } from './controller-roots.ts';

const clock = new ManualClock();
let oldRoot: string;
let newRoot: string;
let leaf: string;
let directory: string;
let rootCertFile: string;
let stateDir: string;
let log: string[];

beforeAll(async () => {
  const ca = await TestCa.create(clock);
  oldRoot = ca.pem();
  newRoot = (await TestCa.create(clock)).pem();
  const { csrPem } = await createCsr({ trustDomain: 'td', namespace: 'a', serviceAccount: 'b' });
  leaf = await ca.leaf({ csrPem, lifeMs: 60_000 });
});

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-roots-'));
  rootCertFile = join(directory, 'root-cert.pem');
  stateDir = join(directory, 'state', 'node-1');
  writeFileSync(rootCertFile, oldRoot);
  log = [];
});

afterEach(() => rmSync(directory, { recursive: true }));

function open(keep = true): Promise<ControllerRoots> {
  const destination = { write: (line: string) => log.push(line) };
  const logger = createLogger({ component: 'roots', destination });
  return ControllerRoots.open({ rootCertFile, stateDir: keep ? stateDir : undefined, logger });
}

describe('ControllerRoots', () => {
  it('are those of the file at first, as it is now', async () => {
    const roots = await open();
    expect(roots.current()).toBe(oldRoot);
    writeFileSync(rootCertFile, newRoot);
    expect(roots.current()).toBe(newRoot);
    expect(log).toEqual([]);
  });

  it('are those of the file and of the newest certificate, also after a restart', async () => {
    const roots = await open();
    roots.learn({ rootsPem: oldRoot + newRoot, notBefore: 1 });
    roots.learn({ rootsPem: newRoot, notBefore: 2 });
    expect(roots.current()).toBe(oldRoot + newRoot);
    await roots.flush();
    expect((await open()).current()).toBe(oldRoot + newRoot);
    expect(readdirSync(stateDir)).toEqual(['learned-roots.json']);
    expect(log).toEqual([]);
  });

  it('are not those of an older certificate whose reply came late', async () => {
    const roots = await open();
    roots.learn({ rootsPem: newRoot, notBefore: 2 });
    roots.learn({ rootsPem: oldRoot, notBefore: 1 });
    expect(roots.current()).toBe(oldRoot + newRoot);
  });

  it('are only those of a file with another content: what was learned is void', async () => {
    const roots = await open();
    roots.learn({ rootsPem: newRoot, notBefore: 1 });
    await roots.flush();
    const other = (await TestCa.create(clock)).pem();
    writeFileSync(rootCertFile, other);
    expect(roots.current()).toBe(other);
    expect((await open()).current()).toBe(other);
  });

  it('end with the process where no directory is given', async () => {
    const roots = await open(false);
    roots.learn({ rootsPem: newRoot, notBefore: 1 });
    await roots.flush();
    expect(roots.current()).toBe(oldRoot + newRoot);
    expect(readdirSync(directory)).toEqual(['root-cert.pem']);
  });

  it.each([
    ['that others could have written', (path: string) => chmodSync(path, 0o666)],
    ['that is not theirs', (path: string) => writeFileSync(path, '{"a":1}')],
    ['that is no JSON', (path: string) => writeFileSync(path, 'roots')],
    [
      'with a certificate that is no CA',
      (path: string) => writeFileSync(path, JSON.stringify({ fileHash: '', rootsPem: leaf })),
    ],
  ])('leave out, with a warning, a state file %s', async (_title, spoil) => {
    const first = await open();
    first.learn({ rootsPem: newRoot, notBefore: 1 });
    await first.flush();
    spoil(join(stateDir, 'learned-roots.json'));
    expect((await open()).current()).toBe(oldRoot);
    expect(log).toHaveLength(1);
  });

  it('are used, with a warning, where they cannot be kept', async () => {
    writeFileSync(join(directory, 'state'), 'a file where a directory should be');
    const roots = await open(false);
    const blocked = await ControllerRoots.open({
      rootCertFile,
      stateDir,
      logger: createLogger({ component: 'roots', destination: { write: (line: string) => log.push(line) } }),
    });
    for (const each of [roots, blocked]) each.learn({ rootsPem: newRoot, notBefore: 1 });
    await blocked.flush();
    expect(blocked.current()).toBe(oldRoot + newRoot);
    expect(log.at(-1)).toContain('are not kept');
  });
});
