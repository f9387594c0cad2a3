import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundle } from './bundle.ts';
import { projectRoot } from './command.ts';

describe('bundle()', () => {
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'weft-bundle-'));
    await bundle(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const weft = (...args: string[]): string =>
    execFileSync(process.execPath, [join(folder, 'cli/main.js'), ...args], {
      encoding: 'utf8',
      cwd: '/',
      stdio: ['ignore', 'pipe', 'ignore'],
    });

  test('makes a command line that prints the same installation as the sources', () => {
    const sources = execFileSync(process.execPath, [join(projectRoot, 'cli/main.ts'), 'install'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    expect(weft('install')).toBe(sources);
  });

  test('has every program and worker where the others look for it', () => {
    for (const program of ['controller', 'ztunnel', 'waypoint']) {
      expect(existsSync(join(folder, program, 'main.js'))).toBe(true);
      expect(weft(program, '--help')).toContain(`weft ${program}`);
    }
    for (const proxy of ['ztunnel', 'waypoint']) {
      expect(existsSync(join(folder, proxy, 'worker-main.js'))).toBe(true);
    }
  });

  const texts = (): string[] => {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.endsWith('.js') && !name.startsWith('node_modules/'),
    );
    expect(files.length).toBeGreaterThan(6);
    return files.map((file) => readFileSync(join(folder, file), 'utf8'));
  };

  test('leaves no reference to a TypeScript file', () => {
    for (const text of texts()) expect(text).not.toMatch(/new URL\(['`][^'`]*\.ts['`]/);
  });

  test('writes ASCII, so that V8 keeps one byte for each character', () => {
    for (const text of texts())
      expect(text).toSatisfy((all: string) => Buffer.byteLength(all) === all.length);
  });
});
