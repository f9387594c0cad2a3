// Finds the kubelet among the node's processes. A process counts by what a pod can not give itself: root, the node's own
// network namespace, a control group of no pod. The name alone is anybody's; what has the name and not the rest is
// either another node's or told as a problem. Reads files only; what follows from it is kubelet-watch.ts's.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { findCgroup, type ProcessCgroup } from '../bpf/process-cgroup.ts';
import { podsOfCgroup, startTicksOf } from './pod-netns.ts';

export interface Kubelet {
  readonly pid: number;
  readonly name: string;
  readonly startTicks: number;
  /** Of /proc/PID/cgroup: a kubelet may move itself, `--kubelet-cgroups`. */
  readonly cgroupText: string;
  /** Absent: its connections can not be told from others', `problem` says why. */
  readonly cgroup?: ProcessCgroup;
  readonly problem?: string;
}

export interface KubeletSearch {
  /** Of the node (hostPID). */
  readonly proc: string;
  /** Mount point of cgroup2. */
  readonly cgroupRoot: string;
}

/** As in /proc/PID/comm. The others are distributions that put the kubelet into a program of their own. */
const names: ReadonlySet<string> = new Set(['kubelet', 'kubelite', 'k3s-server', 'k3s-agent']);

/** Every kubelet of this node; none on a machine without Kubernetes. Takes milliseconds: it asks every process. */
export function findKubelets(search: KubeletSearch): readonly Kubelet[] {
  const node = namespaceAt(join(search.proc, '1/ns/net'));
  if (node === undefined) return [];
  const found: Kubelet[] = [];
  for (const entry of readdirSync(search.proc)) {
    const pid = Number(entry);
    const kubelet = Number.isInteger(pid) ? describe(pid, node, search) : undefined;
    if (kubelet !== undefined) found.push(kubelet);
  }
  return found;
}

/** False once the process has ended or moved to another control group. */
export function isUnchanged({ pid, startTicks, cgroupText }: Kubelet, proc: string): boolean {
  return startTicksOf(pid, proc) === startTicks && read(proc, pid, 'cgroup') === cgroupText;
}

function describe(pid: number, node: string, { proc, cgroupRoot }: KubeletSearch): Kubelet | undefined {
  const name = read(proc, pid, 'comm')?.trim();
  if (name === undefined || !names.has(name)) return undefined;
  const startTicks = startTicksOf(pid, proc);
  const isOfNode = namespaceAt(join(proc, `${pid}`, 'ns/net')) === node && isRoot(pid, proc);
  const cgroupText = read(proc, pid, 'cgroup');
  if (startTicks === undefined || cgroupText === undefined || !isOfNode) return undefined;
  const found = { pid, name, startTicks, cgroupText };
  const cgroup = findCgroup(cgroupRoot, pid, cgroupText);
  // The number may have become another process's meanwhile.
  if (!isUnchanged(found, proc)) return undefined;
  if (cgroup === undefined)
    return { ...found, problem: `its control group is not in the cgroup2 tree at ${cgroupRoot}` };
  // What is mounted names groups that are above this process's own namespace as well. The UIDs of static pods have
  // another form.
  const groups = `${cgroupText}\n0::${cgroup.path}`;
  const [pod] = podsOfCgroup(groups);
  if (pod !== undefined) return { ...found, problem: `it runs in pod ${pod}` };
  return groups.includes('kubepods') ? { ...found, problem: 'it runs in a pod' } : { ...found, cgroup };
}

/** Real, effective, saved and file system user; as seen in this process's user namespace. */
function isRoot(pid: number, proc: string): boolean {
  return /^Uid:\t0\t0\t0\t0$/m.test(read(proc, pid, 'status') ?? '');
}

function namespaceAt(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

function read(proc: string, pid: number, file: string): string | undefined {
  try {
    return readFileSync(join(proc, `${pid}`, file), 'utf8');
  } catch {
    return undefined;
  }
}
