// Whether the processes of a pod are in the part of the cgroup tree that the redirect's programs are attached to. A probe
// can not tell: its socket belongs to the tunnel's own group. Reads the groups of all processes at most every half minute.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type NodePod, referencedPod } from '../mesh/model/node-pod.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import { podOfCgroup } from './pod-netns.ts';

export interface PodCgroupsOptions {
  /** Root of the mount that the programs are attached to, as /proc/self/mountinfo gives it (CgroupMount.root). */
  readonly attachedAt: string;
  readonly clock: Clock;
  /** Default `/proc`; must be that of the node. */
  readonly proc?: string;
}

const rereadMs = 30_000;

export class PodCgroups {
  readonly #options: PodCgroupsOptions;
  /** By Kubernetes UID. */
  #groups: ReadonlyMap<string, string> = new Map();
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(options: PodCgroupsOptions) {
    this.#options = options;
  }

  /** Why a pod is out of reach; undefined if it is not, or has no process of its own that could be. */
  outOfReach({ netns }: NodePod): string | undefined {
    const uid = referencedPod(netns);
    const group = uid === undefined ? undefined : this.#read().get(uid);
    if (group === undefined || isBelow(group, this.#options.attachedAt)) return undefined;
    return `The pod's control group "${group}" is outside of the tree that Weft is attached to: mount the node's whole cgroup2 tree into the node tunnel`;
  }

  #read(): ReadonlyMap<string, string> {
    const { clock, proc = '/proc' } = this.#options;
    const now = clock.monotonic();
    if (now - this.#readAt < rereadMs) return this.#groups;
    this.#readAt = now;
    const groups = new Map<string, string>();
    for (const name of readdirSync(proc)) {
      if (!/^\d+$/.test(name)) continue;
      const text = readIfThere(join(proc, name, 'cgroup'));
      const uid = text === undefined ? undefined : podOfCgroup(text);
      // Of the unified hierarchy (cgroups(7)): `0::PATH`.
      const path = text === undefined ? undefined : /^0::(.*)$/m.exec(text)?.[1];
      if (uid !== undefined && path !== undefined) groups.set(uid, path);
    }
    this.#groups = groups;
    return groups;
  }
}

/** Both as seen from one cgroup namespace: each leading `/..` is a level above its root. */
export function isBelow(path: string, root: string): boolean {
  const at = split(path);
  const from = split(root);
  if (at.up > from.up) return false;
  if (from.down.length === 0) return true;
  return at.up === from.up && from.down.every((name, i) => at.down[i] === name);
}

function split(path: string): { readonly up: number; readonly down: readonly string[] } {
  const names = path.split('/').filter((name) => name !== '');
  const first = names.findIndex((name) => name !== '..');
  const up = first < 0 ? names.length : first;
  return { up, down: names.slice(up) };
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
