// Conformance: h2spec (generic, http2 and hpack, strict) against a server on our session. Built once, pinned by testing/h2spec/go.sum.

import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EchoServer, startEchoServer } from './testing/echo-server.ts';

const VERSION = '2.2.1';
const go = ['go', '/usr/local/go/bin/go'].find((path) => spawnSync(path, ['version']).status === 0);

/** Builds into a cache folder; a finished binary appears under its name at once, so that parallel runs do not meet half of one. */
function buildH2spec(goBinary: string): string {
  const cache = join(tmpdir(), `weft-h2spec-${process.getuid?.() ?? 0}`);
  const binary = join(cache, `h2spec-${VERSION}`);
  if (existsSync(binary)) return binary;
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  const partial = `${binary}.${process.pid}`;
  const built = spawnSync(goBinary, ['build', '-o', partial, 'github.com/summerwind/h2spec/cmd/h2spec'], {
    cwd: join(import.meta.dirname, 'testing/h2spec'),
    encoding: 'utf8',
    env: { ...process.env, GOFLAGS: '-mod=readonly -buildvcs=false' },
  });
  if (built.status !== 0) throw new Error(`Building h2spec: ${built.stderr}`);
  renameSync(partial, binary);
  return binary;
}

describe.skipIf(go === undefined)('h2spec (needs Go)', () => {
  let binary: string;
  let server: EchoServer;

  beforeAll(async () => {
    binary = buildH2spec(go as string);
    server = await startEchoServer();
  }, 300_000);

  afterAll(async () => {
    await server?.close();
  });

  it('finds no fault in any of its sections', async () => {
    const run = promisify(execFile);
    const args = ['-h', '127.0.0.1', '-p', String(server.port), '-o', '5', '--strict'];
    // h2spec exits with 1 if a test failed; its output then says which.
    const { stdout } = await run(binary, args).catch((error: { stdout: string }) => error);
    expect(stdout).toMatch(/\d+ tests, \d+ passed, 0 skipped, 0 failed/);
    expect(server.sessions.length).toBeGreaterThan(140);
  }, 120_000);
});
