import { execFileSync } from 'node:child_process';
import {
  chmod,
  mkdir,
  mkdtemp,
  rename,
  rm,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Resources } from '../resources/resources.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { LastGoodFiles } from './last-good-files.ts';
import { type Loaded, ManifestSet } from './manifest-set.ts';

const logger = createLogger({ component: 'test', level: 'silent' });
let directory: string;
let set: ManifestSet;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-manifests-'));
  set = new ManifestSet({ directory });
  return () => rm(directory, { recursive: true, force: true });
});

const path = (name: string) => join(directory, name);
const write = (name: string, text: string | Buffer) => writeFile(path(name), text);
const node = (name: string) => `apiVersion: v1\nkind: Node\nmetadata: { name: ${name} }\n`;
const policy = (name: string, action = 'DENY') =>
  `apiVersion: weft.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: { name: ${name} }\nspec: { action: ${action} }\n`;
const nodes = ({ resources }: { resources: Resources }) => [...resources.Node.keys()];
const policies = ({ resources }: Loaded) =>
  [...resources.AuthorizationPolicy].map(([key, { spec }]) => `${key} ${spec.action}`);
const messages = ({ problems }: Loaded) =>
  problems.map(
    ({ file, line, severity, message }) =>
      `${file.slice(directory.length + 1)}:${line} ${severity} ${message}`,
  );

describe('ManifestSet', () => {
  it('reads .yaml, .yml and .json files below the directory, sorted, and nothing else', async () => {
    await mkdir(path('sub/deeper'), { recursive: true });
    await write('b.yaml', node('b'));
    await write('a.yml', node('a'));
    await write(
      'sub/deeper/c.json',
      JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'c' } }),
    );
    await write('notes.txt', 'not: [yaml');
    await write('.hidden.yaml', node('hidden'));
    const loaded = await set.update();
    expect(nodes(loaded)).toEqual(['a', 'b', 'c']);
    expect(loaded.problems).toEqual([]);
  });

  it('says whether something changed, and reads unchanged files only once', async () => {
    await write('a.yaml', node('a'));
    const first = await set.update();
    expect(first.changed).toBe(true);
    const second = await set.update();
    expect(second.changed).toBe(false);
    expect(second.resources.Node.get('a')).toBe(first.resources.Node.get('a'));
    expect(await set.isStale()).toBe(false);
    await write('a.yaml', node('b'));
    expect(await set.isStale()).toBe(true);
    expect(nodes(await set.update())).toEqual(['b']);
  });

  it('forgets the objects of a removed file', async () => {
    await write('a.yaml', node('a'));
    await write('b.yaml', node('b'));
    await set.update();
    await unlink(path('a.yaml'));
    expect(nodes(await set.update())).toEqual(['b']);
  });

  it('keeps the last good version of all objects of a file with a syntax error, and reports it', async () => {
    await write('a.yaml', `${policy('p')}---\n${node('a')}`);
    await write('b.yaml', node('b'));
    await set.update();
    await write('a.yaml', `${policy('p')}---\nx: [\n`);
    await write('b.yaml', node('b2'));
    const loaded = await set.update();
    expect(nodes(loaded)).toEqual(['a', 'b2']);
    expect(policies(loaded)).toEqual(['default/p DENY']);
    expect(messages(loaded).some((line) => /^a\.yaml:[67] error/.test(line))).toBe(true);
    await write('a.yaml', node('a'));
    const repaired = await set.update();
    expect(repaired.problems).toEqual([]);
    expect(policies(repaired)).toEqual([]);
  });

  it('keeps the last good version of one broken object while its neighbours in the file move on', async () => {
    await write('a.yaml', `${policy('p')}---\n${node('a')}`);
    await set.update();
    await write('a.yaml', `${policy('p', 'DENIED')}---\n${node('a2')}`);
    const loaded = await set.update();
    expect(policies(loaded)).toEqual(['default/p DENY']);
    expect(nodes(loaded)).toEqual(['a2']);
    expect(messages(loaded)).toEqual([
      'a.yaml:0 warning Its last good version stays in force until the file is right again',
      expect.stringMatching(/^a\.yaml:4 error Must be one of ALLOW, DENY, AUDIT, got "DENIED"/),
    ]);
  });

  it('leaves out an object that was never good', async () => {
    await write('a.yaml', `${policy('p', 'NO')}---\n${node('a')}`);
    const loaded = await set.update();
    expect(policies(loaded)).toEqual([]);
    expect(nodes(loaded)).toEqual(['a']);
  });

  it('keeps a policy whose kind was misspelt by an edit', async () => {
    await write('a.yaml', policy('p'));
    await set.update();
    await write('a.yaml', policy('p').replace('AuthorizationPolicy', 'AuthorizationPolcy'));
    expect(policies(await set.update())).toEqual(['default/p DENY']);
  });

  it('lets the first of two definitions count, in the order of file names, and reports the second', async () => {
    await write('b.yaml', policy('p', 'ALLOW'));
    await write('a.yaml', policy('p', 'DENY'));
    const loaded = await set.update();
    expect(policies(loaded)).toEqual(['default/p DENY']);
    expect(messages(loaded)).toEqual([expect.stringMatching(/^b\.yaml:1 error Duplicate: .*a\.yaml:1/)]);
    await unlink(path('a.yaml'));
    expect(policies(await set.update())).toEqual(['default/p ALLOW']);
  });

  it('refuses a file of 100 MB without reading it', async () => {
    await write('good.yaml', node('good'));
    await write('large.yaml', '');
    await truncate(path('large.yaml'), 100 * 1024 * 1024);
    const before = process.memoryUsage().rss;
    const loaded = await set.update();
    expect(process.memoryUsage().rss - before).toBeLessThan(50 * 1024 * 1024);
    expect(nodes(loaded)).toEqual(['good']);
    expect(messages(loaded)).toEqual([
      'large.yaml:0 error Not read: 100 MiB is over the limit of 10 MiB; split the file',
    ]);
  });

  it('refuses text that is not UTF-8 and keeps the last good version', async () => {
    await write('a.yaml', node('a'));
    await set.update();
    await write('a.yaml', Buffer.from([0x61, 0x3a, 0x20, 0xff, 0xfe]));
    const loaded = await set.update();
    expect(nodes(loaded)).toEqual(['a']);
    expect(messages(loaded)).toContain('a.yaml:0 error Not UTF-8 text: save the file as UTF-8');
  });

  it('does not wait for a pipe with the name of a manifest', async () => {
    execFileSync('mkfifo', [path('pipe.yaml')]);
    expect(messages(await set.update())).toEqual([
      'pipe.yaml:0 error Not a regular file: manifests are plain files',
    ]);
  });

  it('follows links, and reads no directory twice where they go round', async () => {
    await mkdir(path('real'));
    await write('real/a.yaml', node('a'));
    await symlink('..', path('real/up'));
    await symlink('real', path('again'));
    const loaded = await set.update();
    expect(nodes(loaded)).toEqual(['a']);
    expect(loaded.problems).toEqual([]);
  });

  it('reads a mounted ConfigMap, before and after its "..data" link is switched', async () => {
    for (const version of ['1', '2']) {
      await mkdir(path(`..v${version}`));
      await write(`..v${version}/a.yaml`, node(`a${version}`));
    }
    await symlink('..v1', path('..data'));
    await symlink('..data/a.yaml', path('a.yaml'));
    expect(nodes(await set.update())).toEqual(['a1']);
    await symlink('..v2', path('..data_tmp'));
    await rename(path('..data_tmp'), path('..data'));
    expect(nodes(await set.update())).toEqual(['a2']);
  });

  it('keeps the objects behind a link that leads nowhere for a while', async () => {
    await write('target', node('a'));
    await symlink('target', path('a.yaml'));
    await set.update();
    await rename(path('target'), path('away'));
    const loaded = await set.update();
    expect(nodes(loaded)).toEqual(['a']);
    expect(messages(loaded)).toEqual(['a.yaml:0 error Cannot be read (ENOENT): it is a link to nowhere']);
  });

  it.skipIf(process.geteuid?.() === 0)(
    'keeps the objects of an unreadable directory (root can read all)',
    async () => {
      await mkdir(path('sub'));
      await write('sub/a.yaml', node('a'));
      await set.update();
      await chmod(path('sub'), 0o000);
      expect(nodes(await set.update())).toEqual(['a']);
      await chmod(path('sub'), 0o700);
    },
  );

  it('rejects when the directory went away, and knows everything again when it is back', async () => {
    await write('a.yaml', node('a'));
    await set.update();
    await rename(directory, `${directory}-away`);
    await expect(set.update()).rejects.toMatchObject({ code: 'ENOENT' });
    await rename(`${directory}-away`, directory);
    const loaded = await set.update();
    expect(nodes(loaded)).toEqual(['a']);
    expect(loaded.changed).toBe(false);
  });

  describe('with a place for last good versions', () => {
    const fresh = () =>
      new ManifestSet({ directory, lastGood: new LastGoodFiles({ directory: path('.state'), logger }) });

    it.each([
      ['a syntax error', 'x: ['],
      ['a broken object', policy('p', 'NO')],
      ['text that is not UTF-8', Buffer.from([0xff])],
    ])('has the policies of a file that got %s while no controller ran', async (_what, text) => {
      await write('a.yaml', policy('p'));
      await fresh().update();
      await write('a.yaml', text);
      const loaded = await fresh().update();
      expect(policies(loaded)).toEqual(['default/p DENY']);
      expect(loaded.problems.some(({ severity }) => severity === 'error')).toBe(true);
    });

    it('keeps only versions without errors, and none of files that were removed', async () => {
      await write('a.yaml', policy('p'));
      await write('b.yaml', policy('q'));
      await fresh().update();
      await write('a.yaml', policy('p', 'NO'));
      await fresh().update();
      await unlink(path('b.yaml'));
      await fresh().update();
      await write('b.yaml', policy('q', 'NO'));
      const loaded = await fresh().update();
      expect(policies(loaded)).toEqual(['default/p DENY']);
    });

    it('goes on without it when the place cannot be used', async () => {
      await write('.state', 'a file, no directory');
      await write('a.yaml', node('a'));
      expect(nodes(await fresh().update())).toEqual(['a']);
    });
  });

  it('notices a change that keeps size and modification time', async () => {
    await write('a.yaml', node('a'));
    await utimes(path('a.yaml'), 1000, 1000);
    await set.update();
    await write('a.yaml', node('b'));
    await utimes(path('a.yaml'), 1000, 1000);
    expect(nodes(await set.update())).toEqual(['b']);
  });
});
