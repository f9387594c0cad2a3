// Bundles the programs for an image: one file of plain JavaScript each, shared parts beside them, in the folders the
// sources are in. `node scripts/bundle.ts FOLDER`. Not minified, so a stack trace still says where. Why bundled: an image
// has no place for a compile cache of sources, and Node starts faster from ten files than from a thousand.

import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { type Plugin, rolldown } from 'rolldown';
import { projectRoot } from './command.ts';

/** Files that processes and worker threads start with; each is where its source is, as `.js`. */
export const entries = [
  'cli/main',
  'controller/main',
  'ztunnel/main',
  'ztunnel/worker-main',
  'waypoint/main',
  'waypoint/worker-main',
];

/** What programs read besides code, from the project's root. */
export const data = ['bpf/obj', 'manifests', 'LICENSE', 'NOTICE'];

/** Has native code, which stays in files of its own. */
const native = ['koffi', `@koromix/koffi-linux-${process.arch}`];

/** Writes a tree that runs like the sources: `node FOLDER/cli/main.js`. */
export async function bundle(folder: string): Promise<void> {
  const build = await rolldown({
    cwd: projectRoot,
    input: Object.fromEntries(entries.map((entry) => [entry, join(projectRoot, `${entry}.ts`)])),
    platform: 'node',
    external: ['koffi'],
    plugins: [sourceLocations, asciiOutput],
    logLevel: 'warn',
  });
  await build.write({
    dir: folder,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name]-[hash].js',
  });
  await build.close();
  for (const path of data) copy(path, folder);
  for (const name of native) copy(join('node_modules', name), folder);
  const { name, version } = await import('../package.json', { with: { type: 'json' } }).then(
    (m) => m.default,
  );
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify({ name, version, type: 'module' })}\n`);
}

/**
 * A module that looks for a file beside itself finds it although it has moved: every output is one folder deep, so the
 * way from there to where the source was is the same for all. Programs it starts are JavaScript now.
 */
const sourceLocations: Plugin = {
  name: 'source-locations',
  transform: {
    filter: { id: new RegExp(`^${projectRoot}/(?!node_modules/)`), code: 'import.meta.url' },
    handler(code, id) {
      const here = JSON.stringify(`../${relative(projectRoot, id)}`);
      return code
        .replaceAll(
          /new URL\((['`][^'`]*)\.ts(['`]), import\.meta\.url\)/g,
          'new URL($1.js$2, import.meta.url)',
        )
        .replaceAll('import.meta.url', `new URL(${here}, import.meta.url).href`);
    },
  },
};

/** One character beyond Latin-1 in a file, and V8 keeps its whole text with two bytes for each: 1.4 MB of a node tunnel. */
const asciiOutput: Plugin = {
  name: 'ascii-output',
  generateBundle(_options, output) {
    for (const chunk of Object.values(output))
      if (chunk.type === 'chunk') chunk.code = chunk.code.replaceAll(/[\u0080-\uffff]/g, escaped);
  },
};

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function copy(path: string, folder: string): void {
  const target = join(folder, path);
  mkdirSync(dirname(target), { recursive: true });
  cpSync(join(projectRoot, path), target, { recursive: true, dereference: true });
}

if (import.meta.main) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) throw new Error('Usage: node scripts/bundle.ts FOLDER');
  await bundle(folder);
}
