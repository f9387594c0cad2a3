import { existsSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { Redirect } from '../../bpf/redirect.ts';
import { runCli } from '../../cli/run-cli.ts';

const isRoot = process.getuid?.() === 0;
const pins = `/sys/fs/bpf/weft-uncapture-${process.pid}`;
/** Nobody listens there. */
const nowhere = 'http://127.0.0.1:1';

describe.skipIf(!isRoot)('weft uncapture (needs root)', () => {
  afterEach(() => Redirect.removeInstance(pins));

  test('ends what a ztunnel left in the kernel, and warns that pods are unprotected', async () => {
    Redirect.open({ pinDir: pins }).close({ keepPins: true });
    expect(existsSync(pins)).toBe(true);
    let err = '';
    const output = { out: () => {}, err: (text: string) => (err += text) };
    expect(await runCli(['uncapture', '--pin-dir', pins, '--admin', nowhere], output)).toBe(0);
    expect(existsSync(pins)).toBe(false);
    expect(err).toMatch(/^warning: .*UNPROTECTED/);
  });
});
