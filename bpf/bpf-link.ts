// Links: a program attached to a hook, held by a descriptor and, if pinned, by a file that outlives the process.

import { closeSync, existsSync, unlinkSync } from 'node:fs';
import { Slab } from '../mesh/io/slab.ts';
import { systemError } from './bpf-error.ts';
import { libbpf } from './libbpf.ts';

export interface LinkTarget {
  readonly programFd: number;
  /** Descriptor of a cgroup directory or a network namespace. */
  readonly targetFd: number;
  /** BPF_CGROUP_... or BPF_SK_LOOKUP. */
  readonly attachType: number;
  /** For errors, for example `cgroup/connect4`. */
  readonly hook: string;
  /** Where to pin; undefined: the link ends with its descriptor. */
  readonly pinPath?: string | undefined;
}

const EPERM = 1;
const BPF_LINK_TYPE_CGROUP = 3;

/**
 * Attaches a program, or puts it in the place of the one that is pinned there already: atomically, no packet and no
 * connect goes without. Returns the link's descriptor. @throws BpfError attach-failed, pin-failed
 */
export function attachOrReplace(target: LinkTarget): number {
  const { pinPath } = target;
  if (pinPath !== undefined && existsSync(pinPath)) {
    const pinned = openPinned(pinPath);
    if (libbpf().linkUpdate(pinned, target.programFd, 0) === 0) return pinned;
    // Its cgroup or namespace is gone (ENOLINK), or it is of another kind: nothing is captured by it any more.
    closeSync(pinned);
    unlinkSync(pinPath);
  }
  const link = libbpf().linkCreate(target.programFd, target.targetFd, target.attachType, 0);
  if (link < 0) throw attachError(target.hook, -link);
  if (pinPath !== undefined) {
    const result = libbpf().pin(link, pinPath);
    if (result < 0) {
      closeSync(link);
      throw systemError('pin-failed', `Could not pin the link of "${target.hook}" at "${pinPath}"`, -result);
    }
  }
  return link;
}

function attachError(hook: string, code: number): Error {
  const hint =
    code === EPERM
      ? 'it needs CAP_NET_ADMIN, and no program attached there with the exclusive or override flag'
      : 'the kernel may lack this hook';
  return systemError('attach-failed', `Could not attach to "${hook}"`, code, hint);
}

/** A descriptor of a pinned link. @throws BpfError pin-failed */
export function openPinned(path: string): number {
  const fd = libbpf().get(path);
  if (fd < 0) throw systemError('pin-failed', `Could not open the pinned object "${path}"`, -fd);
  return fd;
}

/** Ends a link for good, whoever else may hold it, and removes its pin. Closes the descriptor. */
export function endLink(fd: number, pinPath: string | undefined): void {
  libbpf().linkDetach(fd);
  closeSync(fd);
  if (pinPath !== undefined && existsSync(pinPath)) unlinkSync(pinPath);
}

// struct bpf_link_info: type at 0, id at 4, prog_id at 8. struct bpf_prog_info: type at 0, id at 4.
const info = new Slab(256 + 4);

function readInfo(fd: number): boolean {
  info.bytes.fill(0);
  info.bytes.writeUInt32LE(256, 256);
  return libbpf().info(fd, info.address, info.address + 256) === 0;
}

/** Id of the program a link runs now; 0 if it can not be told. */
export function linkProgramId(linkFd: number): number {
  return readInfo(linkFd) ? info.bytes.readUInt32LE(8) : 0;
}

/** What a link is attached to: the id of a cgroup or the inode of a network namespace. 0: it was detached, or that is gone. */
export function linkTarget(linkFd: number): bigint {
  // In the union at 16, for both kinds of link; the inode has 32 bits and the attach type follows it.
  if (!readInfo(linkFd)) return 0n;
  return info.bytes.readUInt32LE(0) === BPF_LINK_TYPE_CGROUP
    ? info.bytes.readBigUInt64LE(16)
    : BigInt(info.bytes.readUInt32LE(16));
}

/** Id of a program, link or map by its descriptor; 0 if it can not be told. */
export function objectId(fd: number): number {
  return readInfo(fd) ? info.bytes.readUInt32LE(4) : 0;
}
