// Where an instance's links and maps are pinned:
//   DIR/v1/maps/NAME   DIR/v1/links/HOOK   DIR/v1/inbound/NETNS-COOKIE
// The layout version is in the path, so that programs of another layout never share maps. bpffs takes no dot in names.

import { existsSync, mkdirSync, readdirSync, rmdirSync, statfsSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import koffi from 'koffi';
import { describeErrno, errno } from '../mesh/io/libc.ts';
import { BpfError } from './bpf-error.ts';
import { endLink, openPinned } from './bpf-link.ts';
import { layoutVersion } from './map-layout.ts';

const BPF_FS_MAGIC = 0xcafe4a11;
const defaultMount = '/sys/fs/bpf';

export interface PinDirectory {
  readonly root: string;
  map(name: string): string;
  link(hook: string): string;
  inbound(netnsCookie: bigint): string;
}

const version = `v${layoutVersion}`;

/** Paths only; touches nothing. */
export function pinPaths(root: string): PinDirectory {
  return {
    root,
    map: (name) => join(root, version, 'maps', name),
    link: (hook) => join(root, version, 'links', hook),
    inbound: (netnsCookie) => join(root, version, 'inbound', netnsCookie.toString()),
  };
}

/**
 * Makes the directories, mounting bpffs at /sys/fs/bpf if nothing is there yet.
 * @throws BpfError no-bpffs, incompatible-pins (an instance of another layout version is pinned there)
 */
export function openPinDirectory(root: string): PinDirectory {
  const invalid = root.split('/').find((part) => part.includes('.'));
  if (!root.startsWith('/') || invalid !== undefined) {
    throw new BpfError('no-bpffs', `Could not pin at "${root}": the path must be absolute and without dots`);
  }
  if (!isBpffs(nearestExisting(root))) {
    if (root.startsWith(`${defaultMount}/`)) mountBpffs();
    if (!isBpffs(nearestExisting(root))) {
      throw new BpfError(
        'no-bpffs',
        `Could not pin at "${root}": no BPF file system is mounted there (mount -t bpf bpf ${defaultMount})`,
      );
    }
  }
  for (const part of ['maps', 'links', 'inbound']) {
    mkdirSync(join(root, version, part), { recursive: true, mode: 0o700 });
  }
  const other = readdirSync(root).find((name) => name !== version);
  if (other !== undefined) {
    throw new BpfError(
      'incompatible-pins',
      `Could not use "${root}": an instance of layout "${other}" is pinned there; remove it first, then start again`,
    );
  }
  return pinPaths(root);
}

/** The directory of a mounted bpffs, or false. */
export function isBpffs(path: string): boolean {
  return existsSync(path) && statfsSync(path).type >>> 0 === BPF_FS_MAGIC;
}

/** How many programs of the instance are attached at the cgroup root. */
export function pinnedLinks(root: string): number {
  const directory = join(root, version, 'links');
  return existsSync(directory) ? readdirSync(directory).length : 0;
}

function nearestExisting(path: string): string {
  let at = path;
  while (!existsSync(at) && at !== '/') at = dirname(at);
  return at;
}

/** @throws BpfError no-bpffs */
function mountBpffs(): void {
  const mount = koffi
    .load('libc.so.6')
    .func(
      'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
    );
  if (mount('bpf', defaultMount, 'bpf', 0, 'mode=0700') !== 0) {
    throw new BpfError(
      'no-bpffs',
      `Could not mount the BPF file system at "${defaultMount}": ${describeErrno(errno())}`,
    );
  }
}

/**
 * Takes an instance away, of whatever layout version: detaches every link it pinned, even if a process still holds it,
 * and removes the pins. Pods are no longer captured afterwards. No error if there is none. For a cleaner after a crash
 * and for uninstalling. @throws BpfError pin-failed
 */
export function removePinnedInstance(root: string): void {
  if (!existsSync(root) || !isBpffs(root)) return;
  for (const found of readdirSync(root)) removeVersion(join(root, found));
  rmdirSync(root);
}

/** Outbound capture ends first: a pod is never captured into a tunnel whose other half is gone. */
function removeVersion(directory: string): void {
  for (const part of ['links', 'inbound', 'maps']) {
    const path = join(directory, part);
    if (!existsSync(path)) continue;
    for (const name of readdirSync(path)) {
      const pin = join(path, name);
      if (part === 'maps') unlinkSync(pin);
      else endLink(openPinned(pin), pin);
    }
    rmdirSync(path);
  }
  rmdirSync(directory);
}
