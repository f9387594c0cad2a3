// The images of a local cluster, all in one archive: Weft, the test application, the pod's process 1, CoreDNS. Made from
// what this machine has: the project, its Node, Debian's libraries. About two seconds, so nothing is kept.

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pauseImage } from '../cluster/local/node-files.ts';
import { buildShim } from '../../cni/build.ts';
import { bundle } from '../../scripts/bundle.ts';
import { type Image, type ImageConfig, writeArchive } from './archive.ts';
import { addFile, addProgram, findLibrary } from './root-files.ts';

export const weftImage = 'weft.test/weft:1';
export const appImage = 'weft.test/app:1';
/** Its manifest is e2e/cluster/manifests/coredns.yaml. */
const corednsImage = 'weft.test/coredns:1';

/** Where the bundled programs are. */
const weftDirectory = '/weft';
/** As in the official images of Node. */
const nodePath = '/usr/local/bin/node';
/** Who runs in an image that says nothing else: no root, and nobody of the machine. */
const userId = 65_532;
const programs = fileURLToPath(new URL('programs/', import.meta.url));

/** An image of programs for Node besides those that every cluster has. */
export interface AddedImage {
  readonly name: string;
  readonly config: ImageConfig;
  /** Puts what it has besides Node into a directory that is its root. */
  readonly fill: (root: string) => void | Promise<void>;
}

export interface BuildOptions {
  /** Path of CoreDNS, for a cluster that brings none; with it comes process 1 of pods. */
  readonly coredns?: string;
  readonly added?: readonly AddedImage[];
}

/** Writes every image into the file `archive`. */
export async function buildImages(archive: string, { coredns, added = [] }: BuildOptions): Promise<void> {
  mkdirSync(dirname(archive), { recursive: true });
  const work = mkdtempSync(`${archive}.work.`);
  try {
    const folder: Folder = (name) => join(work, name);
    makeNodeLayer(folder('node'));
    await makeWeftLayer(folder('weft'));
    makeAppLayer(folder('app'));
    const images = [...ownImages(folder)];
    for (const [index, { name, config, fill }] of added.entries()) {
      const layer = folder(`added-${index}`);
      await fill(layer);
      images.push({ name, layers: [folder('node'), layer], config });
    }
    if (coredns !== undefined) {
      makePauseLayer(folder('pause'));
      addFile(folder('coredns'), coredns, '/coredns');
      images.push(...systemImages(folder));
    }
    await writeArchive(archive, images);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

type Folder = (name: string) => string;

const path = 'PATH=/usr/local/bin:/usr/bin:/bin';

export const weftConfig = {
  Entrypoint: [nodePath, `${weftDirectory}/cli/main.js`],
  Env: [path],
  WorkingDir: weftDirectory,
  User: `${userId}`,
};

/** Relative to `e2e/`; all in one folder of the image. The agent is what a test drives a pod's side of a call by. */
export const appPrograms = [
  'images/programs/app-main.ts',
  'lab/agent-server-main.ts',
  'lab/agent-operations.ts',
  'lab/loopback-server.ts',
  'lab/load.ts',
] as const;

export const appConfig = { Entrypoint: [nodePath, '/app/app-main.ts'], Env: [path], User: `${userId}` };

function ownImages(folder: Folder): readonly Image[] {
  const node = folder('node');
  return [
    { name: weftImage, layers: [node, folder('weft')], config: weftConfig },
    { name: appImage, layers: [node, folder('app')], config: appConfig },
  ];
}

function systemImages(folder: Folder): readonly Image[] {
  return [
    { name: pauseImage, layers: [folder('pause')], config: { Entrypoint: ['/pause'] } },
    { name: corednsImage, layers: [folder('coredns')], config: { Entrypoint: ['/coredns'] } },
  ];
}

/** Node, what it is linked against, and the few files programs look for in every system. */
function makeNodeLayer(root: string): void {
  mkdirSync(join(root, 'etc'), { recursive: true });
  mkdirSync(join(root, 'tmp'));
  chmodSync(join(root, 'tmp'), 0o1777);
  const users = ['root:x:0:0:root:/:/bin/sh', `weft:x:${userId}:${userId}:weft:/:/bin/false`];
  writeFileSync(join(root, 'etc/passwd'), `${users.join('\n')}\n`);
  writeFileSync(join(root, 'etc/group'), `root:x:0:\nweft:x:${userId}:\n`);
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'hosts: files dns\n');
  addProgram(root, process.execPath, nodePath);
}

async function makeWeftLayer(root: string): Promise<void> {
  await bundle(join(root, weftDirectory));
  buildShim(join(root, weftDirectory, 'cni/weft-cni'));
  const libbpf = findLibrary('libbpf.so.1');
  if (libbpf === undefined) throw new Error('libbpf.so.1 is missing (Debian: libbpf1)');
  addProgram(root, libbpf, libbpf);
}

/** The shell and tools for looking around, and the test programs. */
function makeAppLayer(root: string): void {
  addFile(root, '/bin/busybox', '/bin/busybox');
  const applets = execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets) {
    if (!existsSync(join(root, 'bin', applet))) symlinkSync('busybox', join(root, 'bin', applet));
  }
  mkdirSync(join(root, 'app'));
  writeFileSync(join(root, 'app/package.json'), '{"type":"module"}\n');
  for (const file of appPrograms) cpSync(join(programs, '../..', file), join(root, 'app', basename(file)));
}

function makePauseLayer(root: string): void {
  mkdirSync(root);
  execFileSync('gcc', ['-static', '-Os', '-s', '-o', join(root, 'pause'), join(programs, 'pause.c')]);
}
