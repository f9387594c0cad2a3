// Regenerates what is committed and made from something else: the TypeScript of mesh/xds/proto, with buf and its local
// plugin, and the Helm chart, from manifests/. Needs no network. `--check` generates into a temporary directory instead
// and fails when the committed files differ.

import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { chartFiles } from '../cli/chart/chart-files.ts';

const root = resolve(import.meta.dirname, '..');
const protoDir = join(root, 'mesh/xds/proto');

interface Product {
  /** Committed folder, below the root. */
  readonly folder: string;
  /** What it is made from, for people. */
  readonly source: string;
  readonly generate: (outputDir: string) => void;
}

const products: readonly Product[] = [
  { folder: 'mesh/xds/gen', source: 'mesh/xds/proto', generate: generateProtocol },
  { folder: 'charts/weft', source: 'manifests/ and cli/chart', generate: generateChart },
];

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
process.exitCode = 0;
for (const product of products) {
  const freshDir = mkdtempSync(join(tmpdir(), 'weft-generate-'));
  try {
    product.generate(freshDir);
    if (values.check) report(product, differences(join(root, product.folder), freshDir));
    else replace(join(root, product.folder), freshDir);
  } finally {
    rmSync(freshDir, { recursive: true, force: true });
  }
}

function generateChart(outputDir: string): void {
  for (const [path, text] of chartFiles()) {
    mkdirSync(dirname(join(outputDir, path)), { recursive: true });
    writeFileSync(join(outputDir, path), text);
  }
}

/** Runs buf with the plugin of this project, on the node that runs this script. */
function generateProtocol(outputDir: string): void {
  const plugin = {
    local: [process.execPath, join(root, 'node_modules/@bufbuild/protoc-gen-es/bin/protoc-gen-es')],
    out: outputDir,
    opt: ['target=ts', 'import_extension=ts', 'erasable_syntax=true'],
  };
  const buf = join(root, 'node_modules/@bufbuild/buf/bin/buf');
  const template = JSON.stringify({ version: 'v2', plugins: [plugin] });
  const result = spawnSync(process.execPath, [buf, 'generate', protoDir, '--template', template], {
    cwd: root,
    encoding: 'utf8',
  });
  if (result.status !== 0) {
    throw new Error(`Generating code from ${protoDir} failed: ${result.error?.message ?? result.stderr}`);
  }
}

function listFiles(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

/** Paths that exist on one side only or differ in content. */
function differences(committed: string, fresh: string): string[] {
  const names = new Set([...listFiles(committed), ...listFiles(fresh)]);
  return [...names].filter(
    (name) => readOrNothing(join(committed, name)) !== readOrNothing(join(fresh, name)),
  );
}

function readOrNothing(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function report({ folder, source }: Product, changed: readonly string[]): void {
  if (changed.length === 0) return;
  process.stderr.write(
    `Generated files are not what ${source} says; run "npm run generate" and commit:\n${changed.map((name) => `  ${folder}/${name}\n`).join('')}`,
  );
  process.exitCode = 1;
}

function replace(folder: string, fresh: string): void {
  rmSync(folder, { recursive: true, force: true });
  cpSync(fresh, folder, { recursive: true });
}
