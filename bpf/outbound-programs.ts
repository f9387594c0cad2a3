// The programs at the cgroup root and their maps: one set an instance. Several instances can be attached at one root;
// each acts only on the pods in its own map.

import { closeSync, existsSync, openSync } from 'node:fs';
import { attachOrReplace, endLink, linkProgramId, linkTarget, objectId, openPinned } from './bpf-link.ts';
import { BpfObject } from './bpf-object.ts';
import * as bpf from './libbpf.ts';
import type { PinDirectory } from './pin-directory.ts';

interface Hook {
  readonly name: string;
  readonly program: string;
  readonly attachType: number;
}

/** In order of attachment: whatever puts an address right again comes before whatever changes it. */
export const hooks: readonly Hook[] = [
  { name: 'sockops', program: 'weft_sockops', attachType: bpf.BPF_CGROUP_SOCK_OPS },
  { name: 'getpeername4', program: 'weft_getpeername4', attachType: bpf.BPF_CGROUP_INET4_GETPEERNAME },
  { name: 'getpeername6', program: 'weft_getpeername6', attachType: bpf.BPF_CGROUP_INET6_GETPEERNAME },
  { name: 'recvmsg4', program: 'weft_recvmsg4', attachType: bpf.BPF_CGROUP_UDP4_RECVMSG },
  { name: 'recvmsg6', program: 'weft_recvmsg6', attachType: bpf.BPF_CGROUP_UDP6_RECVMSG },
  { name: 'sendmsg4', program: 'weft_sendmsg4', attachType: bpf.BPF_CGROUP_UDP4_SENDMSG },
  { name: 'sendmsg6', program: 'weft_sendmsg6', attachType: bpf.BPF_CGROUP_UDP6_SENDMSG },
  { name: 'connect4', program: 'weft_connect4', attachType: bpf.BPF_CGROUP_INET4_CONNECT },
  { name: 'connect6', program: 'weft_connect6', attachType: bpf.BPF_CGROUP_INET6_CONNECT },
];

const mapNames = [
  'pods',
  'sockets',
  'flows',
  'shortcuts',
  'control',
  'counters',
  'live',
  'admitted',
  'direct',
  'flow_events',
  'kubelets',
  'probe_targets',
  'probes',
] as const;

export type OutboundMap = (typeof mapNames)[number];

interface AttachedHook {
  readonly hook: Hook;
  readonly fd: number;
  readonly programId: number;
  readonly pinPath: string | undefined;
}

export class OutboundPrograms {
  #object: BpfObject;
  #cgroupPath: string;
  #attached: AttachedHook[] = [];

  /** Loads the programs and shares the maps pinned at `pins`; attaches nothing. @throws BpfError */
  static load(cgroupPath: string, pins: PinDirectory | undefined): OutboundPrograms {
    const paths = pins === undefined ? [] : mapNames.map((name) => [name, pins.map(name)] as const);
    return new OutboundPrograms(BpfObject.load('redirect', { pins: new Map(paths) }), cgroupPath);
  }

  private constructor(object: BpfObject, cgroupPath: string) {
    this.#object = object;
    this.#cgroupPath = cgroupPath;
  }

  mapFd(name: OutboundMap): number {
    return this.#object.mapFd(name);
  }

  /**
   * Attaches. With `pins` it takes over what is pinned there, hook by hook and without a gap; on failure what was
   * attached before stays attached. @throws BpfError
   */
  attach(pins: PinDirectory | undefined): void {
    try {
      this.#attachAll(hooks, (hook) => pins?.link(hook.name));
    } catch (error) {
      this.#letGo();
      throw error;
    }
  }

  get attached(): boolean {
    return this.#attached.length > 0;
  }

  /** True once another process has put its programs in the place of these, or where these were detached. */
  get replaced(): boolean {
    // Hooks are taken over in order: the first one tells.
    const first = this.#attached[0];
    if (first?.pinPath === undefined || !existsSync(first.pinPath)) return false;
    const pinned = openPinned(first.pinPath);
    try {
      return linkProgramId(pinned) !== first.programId;
    } finally {
      closeSync(pinned);
    }
  }

  /** Names of the hooks that somebody detached from the cgroup: what they did is not done any more. */
  detachedHooks(): string[] {
    return this.#detached().map(({ hook }) => hook.name);
  }

  /** Attaches again what was detached. @throws BpfError attach-failed, pin-failed */
  reattach(): void {
    const detached = this.#detached();
    this.#attached = this.#attached.filter((attached) => !detached.includes(attached));
    for (const { fd } of detached) closeSync(fd);
    const pinPaths = new Map(detached.map(({ hook, pinPath }) => [hook, pinPath]));
    this.#attachAll([...pinPaths.keys()], (hook) => pinPaths.get(hook));
  }

  /** Ends capture: detaches every hook and removes its pin. */
  detach(): void {
    for (const { fd, pinPath } of this.#attached.toReversed()) endLink(fd, pinPath);
    this.#attached = [];
    this.close();
  }

  /** Lets go of the descriptors: what is pinned stays attached, what is not pinned ends. Idempotent. */
  close(): void {
    this.#letGo();
    this.#object.close();
  }

  #letGo(): void {
    for (const { fd } of this.#attached) closeSync(fd);
    this.#attached = [];
  }

  #detached(): readonly AttachedHook[] {
    return this.#attached.filter(({ fd }) => linkTarget(fd) === 0n);
  }

  #attachAll(wanted: readonly Hook[], pinOf: (hook: Hook) => string | undefined): void {
    const cgroup = openSync(this.#cgroupPath, 'r');
    try {
      for (const hook of wanted) this.#attach(hook, cgroup, pinOf(hook));
    } finally {
      closeSync(cgroup);
    }
  }

  #attach(hook: Hook, cgroup: number, pinPath: string | undefined): void {
    const programFd = this.#object.programFd(hook.program);
    const fd = attachOrReplace({
      programFd,
      targetFd: cgroup,
      attachType: hook.attachType,
      hook: `cgroup/${hook.name}`,
      pinPath,
    });
    this.#attached.push({ hook, fd, pinPath, programId: objectId(programFd) });
  }
}
