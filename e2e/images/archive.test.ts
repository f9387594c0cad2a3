import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { writeArchive } from './archive.ts';

describe('writeArchive()', () => {
  let work: string;
  beforeEach(() => {
    work = mkdtempSync(join(tmpdir(), 'weft-archive-'));
    for (const layer of ['base', 'one', 'two']) {
      mkdirSync(join(work, layer));
      writeFileSync(join(work, layer, `${layer}.txt`), layer);
    }
  });
  afterEach(() => rmSync(work, { recursive: true }));

  const image = (name: string, ...layers: string[]) => ({
    name: `weft.test/${name}:1`,
    layers: layers.map((layer) => join(work, layer)),
    config: { Entrypoint: [`/${name}`] },
  });
  const read = (file: string): string =>
    execFileSync('tar', ['-xOf', join(work, 'out.tar'), file], { encoding: 'utf8' });
  const names = (): string[] =>
    execFileSync('tar', ['-tf', join(work, 'out.tar')], { encoding: 'utf8' })
      .trim()
      .split('\n');

  test('holds a layer once that two images have', async () => {
    await writeArchive(join(work, 'out.tar'), [image('a', 'base', 'one'), image('b', 'base', 'two')]);
    const [a, b] = JSON.parse(read('manifest.json')) as [{ Layers: string[] }, { Layers: string[] }];
    expect(a.Layers[0]).toBe(b.Layers[0]);
    expect(a.Layers[1]).not.toBe(b.Layers[1]);
    expect(names().filter((name) => name.endsWith('.tar'))).toHaveLength(3);
  });

  test('names each layer in the configuration by the digest of its bytes', async () => {
    await writeArchive(join(work, 'out.tar'), [image('a', 'base')]);
    const [{ Config, Layers }] = JSON.parse(read('manifest.json')) as [{ Config: string; Layers: string[] }];
    const config = JSON.parse(read(Config)) as { rootfs: { diff_ids: string[] }; config: object };
    const digest = execFileSync('sh', ['-c', `tar -xOf out.tar ${Layers[0]} | sha256sum`], {
      cwd: work,
      encoding: 'utf8',
    }).split(' ')[0];
    expect(config.rootfs.diff_ids).toEqual([`sha256:${digest}`]);
    expect(config.config).toEqual({ Entrypoint: ['/a'] });
  });

  test('gives the same bytes for the same directories', async () => {
    await writeArchive(join(work, 'out.tar'), [image('a', 'base', 'one')]);
    const config = (JSON.parse(read('manifest.json')) as [{ Config: string }])[0].Config;
    const layers = readFileSync(join(work, 'out.tar')).length;
    await writeArchive(join(work, 'out.tar'), [image('a', 'base', 'one')]);
    expect((JSON.parse(read('manifest.json')) as [{ Config: string }])[0].Config).toBe(config);
    expect(readFileSync(join(work, 'out.tar'))).toHaveLength(layers);
  });
});
