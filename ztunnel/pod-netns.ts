// Where the network namespaces of this node's pods are. A path (standalone) is what it is; a Kubernetes pod is looked for
// among the node's processes by the UID in their control group. Whoever is located is held open, so what was found can
// not turn into another's. Fails closed: a pod without a process is not located, and not captured.

import { closeSync, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { NetnsError } from '../mesh/io/netns.ts';
import { referencedPod } from '../mesh/model/node-pod.ts';

export interface LocatedNetns {
  /** Leads to the namespace until close(). */
  readonly path: string;
  /** False once the pod has another namespace or none. */
  isCurrent(): boolean;
  close(): void;
}

export interface PodNetnsLocator {
  /**
   * @param netns as a NodePod has it
   * @throws NetnsError not-found (nothing there yet, or no more), not-permitted (it is the node's own)
   */
  locate(netns: string): LocatedNetns;
}

export interface LocatorOptions {
  /** Default `/proc`; must be that of the node (hostPID). */
  readonly proc?: string;
}

export function openPodNetnsLocator({ proc = '/proc' }: LocatorOptions = {}): PodNetnsLocator {
  return {
    locate: (netns) => {
      const uid = referencedPod(netns);
      return uid === undefined ? locatePath(netns) : locatePod(uid, proc);
    },
  };
}

function locatePath(path: string): LocatedNetns {
  const found = namespaceAt(path);
  if (found === undefined) throw notFound(`Could not open network namespace "${path}": the pod may be gone`);
  // Not reused while it is captured: the workers hold it open.
  return { path, isCurrent: () => namespaceAt(path) === found, close: () => {} };
}

/**
 * The oldest process of a pod is that of its sandbox, which holds the namespaces of all containers. Later ones may have
 * made themselves others.
 */
function locatePod(uid: string, proc: string): LocatedNetns {
  const processes = processesOf(uid, proc).toSorted((a, b) => a.startTicks - b.startTicks);
  for (const { pid, startTicks } of processes) {
    const path = join(proc, `${pid}`, 'ns/net');
    const fd = openIfThere(path);
    if (fd === undefined) continue;
    // The number may have become another process's before the namespace was opened.
    if (startTicksOf(pid, proc) !== startTicks || podOf(pid, proc) !== uid) {
      closeSync(fd);
      continue;
    }
    return hold(fd, { uid, proc, isCurrent: () => sameNamespace(fd, path) && podOf(pid, proc) === uid });
  }
  throw notFound(`No process of pod ${uid} runs on this node: it may be starting, or be gone`);
}

function hold(
  fd: number,
  { uid, proc, isCurrent }: { uid: string; proc: string; isCurrent: () => boolean },
): LocatedNetns {
  if (sameNamespace(fd, join(proc, '1/ns/net'))) {
    closeSync(fd);
    throw new NetnsError(
      'not-permitted',
      `Pod ${uid} is on the network of its node, which is never captured`,
    );
  }
  return { path: `/proc/self/fd/${fd}`, isCurrent, close: () => closeSync(fd) };
}

interface PodProcess {
  readonly pid: number;
  readonly startTicks: number;
}

function processesOf(uid: string, proc: string): readonly PodProcess[] {
  return readdirSync(proc).flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid) || podOf(pid, proc) !== uid) return [];
    const startTicks = startTicksOf(pid, proc);
    return startTicks === undefined ? [] : [{ pid, startTicks }];
  });
}

/** UID of the pod a process is in; undefined for none, or for no such process. */
function podOf(pid: number, proc: string): string | undefined {
  const text = readIfThere(join(proc, `${pid}`, 'cgroup'));
  return text === undefined ? undefined : podOfCgroup(text);
}

const uidPattern = '[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}';
/** `pod<UID>` of the cgroupfs driver, or `kubepods-burstable-pod<UID with underscores>.slice` of systemd's. */
const podSegment = new RegExp(`/(?:[a-z-]*-)?pod(${uidPattern})(?:\\.slice)?(?:/|$)`);

/**
 * From /proc/PID/cgroup (cgroups(7)). The outermost name counts: below it a container names groups as it likes. All
 * hierarchies that name a pod must name the same.
 */
export function podOfCgroup(text: string): string | undefined {
  const found = podsOfCgroup(text);
  const [uid] = found;
  return found.size === 1 ? uid : undefined;
}

/** Every pod that a hierarchy names, for who must be in none. */
export function podsOfCgroup(text: string): ReadonlySet<string> {
  const found = new Set<string>();
  for (const line of text.split('\n')) {
    const path = line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1);
    const uid = podSegment.exec(path)?.[1];
    if (uid !== undefined) found.add(uid.replaceAll('_', '-'));
  }
  return found;
}

/** Field 22 of /proc/PID/stat: with the number it is never reused while the machine is up. */
export function startTicksOf(pid: number, proc: string): number | undefined {
  const stat = readIfThere(join(proc, `${pid}`, 'stat'));
  // The command name, in parentheses, may itself hold spaces and parentheses.
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
}

/** Names the namespace a path leads to, as long as somebody holds it; undefined if there is none. */
export function namespaceAt(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}

function sameNamespace(fd: number, path: string): boolean {
  const { dev, ino } = fstatSync(fd);
  try {
    return namespaceAt(path) === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch {
    return undefined;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function notFound(message: string): NetnsError {
  return new NetnsError('not-found', message);
}
