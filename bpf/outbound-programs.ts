// The programs at the cgroup root and their maps: one set an instance. Several instances can be attached at one root;
// each acts only on the pods in its own map.

import { closeSync, openSync } from 'node:fs';
import { attachOrReplace, endLink, linkProgramId, objectId } from './bpf-link.ts';
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
  'pod_addresses',
  'probes',
] as const;

export type OutboundMap = (typeof mapNames)[number];

interface AttachedHook {
  readonly fd: number;
  readonly programId: number;
  readonly pinPath: string | undefined;
}

export class OutboundPrograms {
  #object: BpfObject;
  #attached: AttachedHook[] = [];

  /**
   * Loads and attaches. With `pins` it takes over what is pinned there, hook by hook and without a gap, and shares its
   * maps; on failure what was attached before stays attached. @throws BpfError
   */
  static attach(cgroupPath: string, pins: PinDirectory | undefined): OutboundPrograms {
    const paths = pins === undefined ? [] : mapNames.map((name) => [name, pins.map(name)] as const);
    const outbound = new OutboundPrograms(BpfObject.load('redirect', { pins: new Map(paths) }));
    const cgroup = openSync(cgroupPath, 'r');
    try {
      for (const hook of hooks) outbound.#attach(hook, cgroup, pins?.link(hook.name));
    } catch (error) {
      outbound.close();
      throw error;
    } finally {
      closeSync(cgroup);
    }
    return outbound;
  }

  private constructor(object: BpfObject) {
    this.#object = object;
  }

  mapFd(name: OutboundMap): number {
    return this.#object.mapFd(name);
  }

  /** True once another process has put its programs in the place of these. */
  get replaced(): boolean {
    return this.#attached.some(({ fd, programId }) => linkProgramId(fd) !== programId);
  }

  /** Ends capture: detaches every hook and removes its pin. */
  detach(): void {
    for (const { fd, pinPath } of this.#attached.toReversed()) endLink(fd, pinPath);
    this.#attached = [];
    this.close();
  }

  /** Lets go of the descriptors: what is pinned stays attached, what is not pinned ends. Idempotent. */
  close(): void {
    for (const { fd } of this.#attached) closeSync(fd);
    this.#attached = [];
    this.#object.close();
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
    this.#attached.push({ fd, pinPath, programId: objectId(programFd) });
  }
}
