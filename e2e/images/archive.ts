// Writes images as one archive of the form of `docker save`, which `ctr images import` and `kind load` take, from plain
// directories: one layer each. No daemon, no registry; tar(1) and SHA-256 are enough. Images share layers by content.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';

export interface ImageConfig {
  readonly Entrypoint: readonly string[];
  readonly Env?: readonly string[];
  readonly WorkingDir?: string;
  readonly User?: string;
}

export interface Image {
  /** Name and tag; never `latest`, which nodes would ask a registry for. */
  readonly name: string;
  /** Directories, the lowest layer first. */
  readonly layers: readonly string[];
  readonly config: ImageConfig;
}

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** Writes `images` to the file `archive`. The same directories give the same bytes. */
export async function writeArchive(archive: string, images: readonly Image[]): Promise<void> {
  mkdirSync(dirname(archive), { recursive: true });
  const work = mkdtempSync(`${archive}.`);
  try {
    const digests = new Map<string, string>();
    for (const directory of new Set(images.flatMap(({ layers }) => layers))) {
      digests.set(directory, await packLayer(directory, work));
    }
    const manifest = images.map((image) => describeImage(image, { digests, work }));
    writeFileSync(join(work, 'manifest.json'), JSON.stringify(manifest));
    const files = [
      ...new Set(['manifest.json', ...manifest.flatMap(({ Config, Layers }) => [Config, ...Layers])]),
    ];
    tar(['-C', work, '-cf', `${archive}.new`, ...files]);
    renameSync(`${archive}.new`, archive);
  } finally {
    rmSync(work, { recursive: true });
  }
}

interface ManifestEntry {
  readonly Config: string;
  readonly RepoTags: readonly string[];
  readonly Layers: readonly string[];
}

function describeImage(
  { name, layers, config }: Image,
  { digests, work }: { readonly digests: ReadonlyMap<string, string>; readonly work: string },
): ManifestEntry {
  const ids = layers.map((directory) => digests.get(directory) ?? '');
  const text = JSON.stringify({
    architecture: architectures[process.arch] ?? process.arch,
    os: 'linux',
    created: '1970-01-01T00:00:00Z',
    config,
    rootfs: { type: 'layers', diff_ids: ids.map((id) => `sha256:${id}`) },
  });
  const file = `${createHash('sha256').update(text).digest('hex')}.json`;
  writeFileSync(join(work, file), text);
  return { Config: file, RepoTags: [name], Layers: ids.map(layerFile) };
}

/** Returns the SHA-256 of the layer, which is its name too. */
async function packLayer(directory: string, work: string): Promise<string> {
  const file = join(work, 'layer.tar');
  const reproducible = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
  tar(['-C', directory, ...reproducible, '-cf', file, '.']);
  const hash = createHash('sha256');
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  const digest = hash.digest('hex');
  renameSync(file, join(work, layerFile(digest)));
  return digest;
}

function layerFile(digest: string): string {
  return `${digest}.tar`;
}

function tar(args: readonly string[]): void {
  execFileSync('tar', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
