import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { ManualClock, systemClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import { chainPlugin, installProgram, removePlugin } from './cni-files.ts';
import { CniInstaller } from './cni-installer.ts';
import { EnrolledNamespaces } from './enrolled-namespaces.ts';

const logger = createLogger({ component: 'cni', level: 'silent' });
const list = (name: string): string =>
  JSON.stringify({ cniVersion: '1.0.0', name, plugins: [{ type: 'bridge' }] });

describe('the CNI directories of a node', () => {
  let root: string;
  let conf: string;
  let bin: string;
  let program: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'weft-cni-'));
    [conf, bin] = [join(root, 'net.d'), join(root, 'bin')];
    mkdirSync(conf);
    program = join(root, 'program');
    writeFileSync(program, 'the program');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const file = (): string => join(conf, '10-pods.conflist');
  const types = (): string[] =>
    (JSON.parse(readFileSync(file(), 'utf8')) as { plugins: { type: string }[] }).plugins.map(
      ({ type }) => type,
    );

  function install(
    clock = new ManualClock(),
    chained: boolean[] = [],
  ): { clock: ManualClock; chained: boolean[] } {
    const metrics = { cniChained: (value: boolean) => void chained.push(value) };
    const installer = new CniInstaller({ directories: { conf, bin }, program, metrics, clock, logger });
    onTestFinished(() => installer.close());
    return { clock, chained };
  }

  test('chaining keeps the mode of the file and leaves nothing beside it', () => {
    writeFileSync(file(), list('pods'));
    chmodSync(file(), 0o600);
    chainPlugin(conf);
    expect(types()).toEqual(['bridge', 'weft-cni']);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(readdirSync(conf)).toEqual(['10-pods.conflist']);
  });

  test('the program is there and can be run; it is replaced when it is another one', () => {
    for (const text of ['the program', 'the next program']) {
      writeFileSync(program, text);
      installProgram(program, bin);
      expect(readFileSync(join(bin, 'weft-cni'), 'utf8')).toBe(text);
      expect(statSync(join(bin, 'weft-cni')).mode & 0o777).toBe(0o755);
    }
    const { ino } = statSync(join(bin, 'weft-cni'));
    installProgram(program, bin);
    expect(statSync(join(bin, 'weft-cni')).ino).toBe(ino);
  });

  test('removal gives back what others wrote, takes the program, and can be done twice', () => {
    writeFileSync(file(), list('pods'));
    writeFileSync(join(conf, '00-single.conf'), '{"cniVersion":"1.0.0","name":"a","type":"bridge"}');
    installProgram(program, bin);
    chainPlugin(conf);
    expect(readdirSync(conf)).toHaveLength(3);
    for (let i = 0; i < 2; i++) removePlugin({ conf, bin });
    expect(readdirSync(conf)).toEqual(['00-single.conf', '10-pods.conflist']);
    expect(JSON.parse(readFileSync(file(), 'utf8'))).toEqual(JSON.parse(list('pods')));
    expect(readdirSync(bin)).toEqual([]);
  });

  test('the installer chains again what another CNI rewrote, by itself', async () => {
    writeFileSync(file(), list('pods'));
    const installer = new CniInstaller({
      directories: { conf, bin },
      program,
      metrics: { cniChained: () => {} },
      clock: systemClock,
      logger,
    });
    onTestFinished(() => installer.close());
    expect(types()).toEqual(['bridge', 'weft-cni']);
    writeFileSync(file(), list('rewritten'));
    await vi.waitFor(() => expect(types()).toEqual(['bridge', 'weft-cni']), { timeout: 10_000, interval: 5 });
    expect(readFileSync(file(), 'utf8')).toContain('rewritten');
  });

  test('the installer looks by itself where no watch tells it, and says how it stands', () => {
    const { clock, chained } = install();
    expect(chained).toEqual([false]);
    writeFileSync(file(), list('pods'));
    rmSync(join(bin, 'weft-cni'));
    clock.advance(5_000);
    expect(types()).toEqual(['bridge', 'weft-cni']);
    expect(existsSync(join(bin, 'weft-cni'))).toBe(true);
    expect(chained.at(-1)).toBe(true);
  });

  test('a writer that never stops loses none of its files, and readers never see a broken one', async () => {
    writeFileSync(file(), list('0'));
    const writer = new Worker(
      `const { writeFileSync, renameSync } = require('node:fs');
       const { workerData: { file, rounds } } = require('node:worker_threads');
       for (let i = 1; i <= rounds; i++) {
         writeFileSync(file + '.tmp', JSON.stringify({ cniVersion: '1.0.0', name: String(i), plugins: [{ type: 'bridge' }] }));
         renameSync(file + '.tmp', file);
         Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
       }`,
      { eval: true, workerData: { file: file(), rounds: 300 } },
    );
    let ended = false;
    const end = new Promise((resolve) => writer.once('exit', resolve)).then(() => (ended = true));
    while (!ended) {
      chainPlugin(conf);
      expect(types()[0]).toBe('bridge');
      await new Promise(setImmediate);
    }
    await end;
    chainPlugin(conf);
    expect(types()).toEqual(['bridge', 'weft-cni']);
    expect(readFileSync(file(), 'utf8')).toContain('"name": "300"');
  });

  test('enrolled namespaces are one a line, and survive the process', async () => {
    const names = await EnrolledNamespaces.open(root, { logger });
    expect(names.has('shop')).toBe(false);
    names.set(['old']);
    names.set(['bank', 'shop']);
    expect([names.has('shop'), names.has('old')]).toEqual([true, false]);
    await names.flush();
    expect(readFileSync(join(root, 'enrolled-namespaces'), 'utf8')).toBe('bank\nshop\n');
    expect((await EnrolledNamespaces.open(root, { logger })).has('bank')).toBe(true);
  });
});
