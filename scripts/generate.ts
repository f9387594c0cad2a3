// Regenerates the committed TypeScript of mesh/xds/proto with buf and its local plugin; needs no network.
// `--check` generates into a temporary directory instead and fails when the committed files differ.

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const root = resolve(import.meta.dirname, '..');
const protoDir = join(root, 'mesh/xds/proto');
const generatedDir = join(root, 'mesh/xds/gen');

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
const freshDir = mkdtempSync(join(tmpdir(), 'weft-generate-'));
try {
  generate(freshDir);
  process.exitCode = values.check ? report(differences(generatedDir, freshDir)) : replace(freshDir);
} finally {
  rmSync(freshDir, { recursive: true, force: true });
}

/** Runs buf with the plugin of this project, on the node that runs this script. */
function generate(outputDir: string): void {
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

function report(changed: readonly string[]): number {
  if (changed.length === 0) return 0;
  process.stderr.write(
    `Generated code is not what mesh/xds/proto says; run "npm run generate" and commit:\n${changed.map((name) => `  mesh/xds/gen/${name}\n`).join('')}`,
  );
  return 1;
}

function replace(fresh: string): number {
  rmSync(generatedDir, { recursive: true, force: true });
  cpSync(fresh, generatedDir, { recursive: true });
  return 0;
}
