// The Weft that is measured: bundled as in the image, made anew for each run, or the sources.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ProgramName } from '../cli/program-files.ts';
import { bundle } from '../scripts/bundle.ts';

const project = join(import.meta.dirname, '..');
const bundled = join(import.meta.dirname, '.cache/bundle');

/** Files that node is started with. */
export type WeftPrograms = Readonly<Record<ProgramName | 'cli', string>>;

export const sourcePrograms: WeftPrograms = programsIn(project, 'ts');

let made: Promise<WeftPrograms> | undefined;

/** Takes some seconds once. */
export function bundledPrograms(): Promise<WeftPrograms> {
  made ??= makeBundle();
  return made;
}

async function makeBundle(): Promise<WeftPrograms> {
  rmSync(bundled, { recursive: true, force: true });
  await bundle(bundled);
  return programsIn(bundled, 'js');
}

function programsIn(folder: string, extension: string): WeftPrograms {
  const file = (name: string): string => join(folder, name, `main.${extension}`);
  return {
    controller: file('controller'),
    ztunnel: file('ztunnel'),
    waypoint: file('waypoint'),
    cli: file('cli'),
  };
}
