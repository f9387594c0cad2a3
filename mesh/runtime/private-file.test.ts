import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { readPrivateFile, writePrivateFile } from './private-file.ts';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-private-'));
  path = join(directory, 'secret');
  return () => rm(directory, { recursive: true });
});

describe('writePrivateFile()', () => {
  it('makes a file that only its owner may read, whatever the umask is', async () => {
    const old = process.umask(0);
    try {
      await writePrivateFile(path, 'text');
    } finally {
      process.umask(old);
    }
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readPrivateFile(path)).toBe('text');
  });

  it('replaces the whole file and leaves nothing else behind', async () => {
    await writePrivateFile(path, 'a much longer text');
    await writePrivateFile(path, 'short');
    expect(await readPrivateFile(path)).toBe('short');
    expect(await readdir(directory)).toEqual(['secret']);
  });

  it('replaces a link instead of writing where it leads', async () => {
    const elsewhere = join(directory, 'elsewhere');
    await writeFile(elsewhere, 'kept');
    await symlink(elsewhere, path);
    await writePrivateFile(path, 'text');
    expect((await stat(elsewhere)).size).toBe(4);
    expect(await readPrivateFile(path)).toBe('text');
  });

  it('with `exclusive` lets one of many writers win and keeps what that one wrote', async () => {
    const texts = Array.from({ length: 10 }, (_, index) => `writer ${index}`);
    const results = await Promise.allSettled(
      texts.map((text) => writePrivateFile(path, text, { exclusive: true })),
    );
    const winners = texts.filter((_, index) => results[index]?.status === 'fulfilled');
    expect(winners).toEqual([await readPrivateFile(path)]);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'file-exists' });
    }
    expect(await readdir(directory)).toEqual(['secret']);
  });

  it('fails with the path when the directory is missing', async () => {
    await expect(writePrivateFile(join(directory, 'no', 'file'), 'x')).rejects.toMatchObject({
      code: 'file-unwritable',
      message: expect.stringMatching(/no\/file" failed: ENOENT/),
    });
  });

  it('leaves nothing behind when the path is a directory', async () => {
    await mkdir(path);
    await expect(writePrivateFile(path, 'x')).rejects.toMatchObject({ code: 'file-unwritable' });
    expect(await readdir(directory)).toEqual(['secret']);
  });
});

describe('readPrivateFile()', () => {
  it('returns undefined where there is no file', async () => {
    expect(await readPrivateFile(path)).toBeUndefined();
  });

  it.each([0o644, 0o640, 0o606, 0o610])('refuses mode %o', async (mode) => {
    await writePrivateFile(path, 'x');
    await chmod(path, mode);
    await expect(readPrivateFile(path)).rejects.toMatchObject({ code: 'file-too-open' });
  });

  it('refuses a link, a directory and a pipe, without waiting for the pipe', async () => {
    await writePrivateFile(path, 'x');
    await symlink(path, join(directory, 'link'));
    execFileSync('mkfifo', ['-m', '600', join(directory, 'pipe')]);
    for (const name of ['link', '.', 'pipe']) {
      await expect(readPrivateFile(join(directory, name))).rejects.toMatchObject({
        code: 'file-not-regular',
      });
    }
  });

  it('keeps no file open, whether it is read or refused', async () => {
    await writePrivateFile(path, 'x');
    const before = (await readdir('/proc/self/fd')).length;
    for (let round = 0; round < 20; round++) {
      await chmod(path, 0o600);
      await readPrivateFile(path);
      await chmod(path, 0o644);
      await readPrivateFile(path).catch(() => undefined);
      await writePrivateFile(path, 'x', { exclusive: true }).catch(() => undefined);
    }
    expect((await readdir('/proc/self/fd')).length).toBeLessThan(before + 10);
  });

  it('refuses more than 1 MB', async () => {
    await writePrivateFile(path, 'x'.repeat(1024 * 1024 + 1));
    await expect(readPrivateFile(path)).rejects.toMatchObject({ code: 'file-too-large' });
  });

  it.skipIf(process.geteuid?.() !== 0)(
    'refuses the file of another user (needs root to make one)',
    async () => {
      await writePrivateFile(path, 'x');
      await chown(path, 65_534, 65_534);
      await expect(readPrivateFile(path)).rejects.toMatchObject({ code: 'file-not-owned' });
    },
  );
});
