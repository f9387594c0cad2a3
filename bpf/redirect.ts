// The node tunnel's traffic redirect: which pods are captured, and the kernel programs that do it. Outbound capture is
// one set of programs at the cgroup root; inbound capture is one program a pod. With a pin directory capture outlives
// the process: an enrolled pod whose proxy is away is refused, never sent in plaintext.

import { closeSync, existsSync, fstatSync, readFileSync, writeFileSync } from 'node:fs';
import { openNetns, withNetnsFd } from '../mesh/io/netns.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import { BpfError } from './bpf-error.ts';
import { endLink, linkProgramId, openPinned } from './bpf-link.ts';
import { BpfMap } from './bpf-map.ts';
import { cgroupRoot } from './cgroup-root.ts';
import type { FlowMapFds } from './flow-maps.ts';
import type { KubeletMapFds } from './kubelet-maps.ts';
import { decodePod, encodePod, firstOfEachFamily, type PodEntry, podKeySize, podSize } from './map-layout.ts';
import { type OutboundMap, OutboundPrograms } from './outbound-programs.ts';
import { openPinDirectory, type PinDirectory, pinnedLinks, removePinnedInstance } from './pin-directory.ts';
import { PinLock } from './pin-lock.ts';
import { ProbeTargets } from './probe-targets.ts';
import { currentNetnsCookie, type PodCapture, refuseOwnNetns, validateCapture } from './pod-capture.ts';
import { attachInbound, type InboundLink } from './pod-inbound.ts';
import type { SameNodeFds } from './same-node-maps.ts';
import { proveSteering, type SteeringProof } from './steering-proof.ts';

export interface RedirectOptions {
  /** Root of the cgroup2 tree the pods are in. Default: the mount in /proc/self/mountinfo. */
  readonly cgroupPath?: string;
  /** A directory on bpffs, for example `/sys/fs/bpf/weft/node-1`. Absent: capture ends with the process (tests). */
  readonly pinDir?: string;
}

export interface CapturedPod {
  readonly uid: string;
  readonly netnsCookie: bigint;
  /** True: attached by this Redirect. False: left by an earlier process, not attached again yet. */
  readonly attached: boolean;
}

interface Attachment extends InboundLink {
  readonly cookie: bigint;
  readonly netnsInode: bigint;
}

const defaultHbonePort = 15008;
/** Size of the `pods` map in redirect.bpf.c. */
const maxPods = 4096;

export class Redirect {
  #outbound: OutboundPrograms;
  #pins: PinDirectory | undefined;
  #lock: PinLock | undefined;
  #pods: BpfMap;
  #probeTargets: ProbeTargets;
  #attached = new Map<string, Attachment>();
  /** Namespaces of pods that were let go and still get answers, by uid. */
  #answering = new Map<string, bigint>();
  #open = true;

  /**
   * Loads the programs and shares the maps of an instance pinned at `pinDir`, whose process goes on undisturbed until
   * takeOver(). @throws BpfError libbpf-missing, not-permitted, no-cgroup2, no-bpffs, load-failed, incompatible-pins
   */
  static open(options: RedirectOptions): Redirect {
    const cgroupPath = options.cgroupPath ?? cgroupRoot();
    if (options.pinDir === undefined) return new Redirect(OutboundPrograms.load(cgroupPath, undefined));
    const pins = openPinDirectory(options.pinDir);
    const lock = new PinLock(pins.root);
    try {
      const outbound = lock.exclusively(() => OutboundPrograms.load(cgroupPath, pins));
      return new Redirect(outbound, { pins, lock });
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /** Ends capture of every pod of the instance pinned at `pinDir` and removes its pins, whoever made them. */
  static removeInstance(pinDir: string): void {
    removePinnedInstance(pinDir);
  }

  private constructor(
    outbound: OutboundPrograms,
    pinned?: { readonly pins: PinDirectory; readonly lock: PinLock },
  ) {
    this.#outbound = outbound;
    this.#pins = pinned?.pins;
    this.#lock = pinned?.lock;
    this.#pods = new BpfMap('pods', outbound.mapFd('pods'), { key: podKeySize, value: podSize });
    this.#probeTargets = new ProbeTargets(outbound.mapFd('probe_targets'));
  }

  /** For `new FlowMaps(fds)` in any thread of this process; valid until close(). */
  get fds(): FlowMapFds {
    this.#assertOpen();
    return { sockets: this.#outbound.mapFd('sockets') };
  }

  /** For `new SameNodeMaps(fds)`, once a process; valid until close(). */
  get sameNodeFds(): SameNodeFds {
    this.#assertOpen();
    const fd = (name: OutboundMap): number => this.#outbound.mapFd(name);
    return {
      shortcuts: fd('shortcuts'),
      control: fd('control'),
      counters: fd('counters'),
      live: fd('live'),
      events: fd('flow_events'),
    };
  }

  /** For `new KubeletMaps(fds)`; valid until close(). */
  get kubeletFds(): KubeletMapFds {
    this.#assertOpen();
    return { kubelets: this.#outbound.mapFd('kubelets'), probes: this.#outbound.mapFd('probes') };
  }

  /**
   * Attaches the programs at the cgroup root; no pod is captured by that. From here on this process decides what is
   * captured: an earlier one of the same pins is `replaced`, its pods stay captured, and each attach() then puts the new
   * listeners in. Idempotent; attach() does it where it was not done. @throws BpfError attach-failed, pin-failed
   */
  takeOver(): void {
    this.#assertOpen();
    this.#exclusively(() => this.#takeOver());
  }

  /** True once a newer process has taken over: attach() throws and detach() changes nothing any more. */
  get replaced(): boolean {
    return this.#open && this.#outbound.replaced;
  }

  /**
   * Captures a pod: inbound first, then outbound; if either fails nothing has changed. Calling it again for a captured
   * pod puts new listeners in atomically. Connections that exist already are left alone.
   * @throws BpfError invalid-capture, load-failed, attach-failed, map-failed, pin-failed, taken-over
   * @throws NetnsError not-found
   */
  attach(podUid: string, capture: PodCapture): { readonly netnsCookie: bigint } {
    this.#assertOpen();
    return this.#exclusively(() => {
      this.#takeOver();
      if (!this.#outbound.replaced) return this.#attach(podUid, capture);
      throw new BpfError('taken-over', `Could not capture pod "${podUid}": a newer process has taken over`);
    });
  }

  #attach(podUid: string, capture: PodCapture): { readonly netnsCookie: bigint } {
    const netns = openNetns(capture.netnsPath);
    try {
      refuseOwnNetns(podUid, netns);
      const cookie = withNetnsFd(netns, currentNetnsCookie);
      validateCapture(podUid, capture, cookie);
      const entry = encodePod(podEntry(podUid, capture));
      const before = this.#pods.get(cookieKey(cookie)) !== undefined;
      const link = this.#attachInbound(netns, cookie, capture);
      try {
        this.#probeTargets.assign(cookie, capture);
        this.#pods.set(cookieKey(cookie), entry);
      } catch (error) {
        if (before) closeSync(link.fd);
        else {
          this.#forget(cookie);
          endLink(link.fd, this.#pins?.inbound(cookie));
        }
        throw error;
      }
      if (this.#answering.get(podUid) === cookie) this.#answering.delete(podUid);
      const netnsInode = BigInt(fstatSync(netns).ino);
      this.#replaceAttachment(podUid, { ...link, cookie, netnsInode });
      withNetnsFd(netns, allowPortReuse);
      return { netnsCookie: cookie };
    } finally {
      closeSync(netns);
    }
  }

  /**
   * Ends capture of a pod, also one that an earlier process attached; no error if it is not captured. Established
   * connections live on. With `answering` so do DNS queries and handshakes that are under way, until endAnswers().
   * Does nothing to a pod that a newer process has taken over.
   */
  detach(podUid: string, { answering = false }: { readonly answering?: boolean } = {}): void {
    this.#assertOpen();
    this.#exclusively(() => this.#detach(podUid, answering));
  }

  /** What was under way when the pod was let go is over. Nothing if it is captured again. */
  endAnswers(podUid: string): void {
    this.#assertOpen();
    const cookie = this.#answering.get(podUid);
    this.#answering.delete(podUid);
    if (cookie === undefined || this.#outbound.replaced) return;
    this.#exclusively(() => this.#pods.delete(cookieKey(cookie)));
  }

  #detach(podUid: string, answering: boolean): void {
    const own = this.#attached.get(podUid);
    this.#attached.delete(podUid);
    if (own !== undefined) {
      // Without an entry answers would come from the listener itself, a stranger to who asked.
      const entry = answering ? this.#pods.get(cookieKey(own.cookie)) : undefined;
      const left = entry && encodePod({ ...decodePod(entry), outboundPort: 0 });
      if (this.#end(own, left) && left !== undefined) this.#answering.set(podUid, own.cookie);
      return;
    }
    if (this.#outbound.replaced) return;
    for (const { uid, netnsCookie } of this.listPods()) {
      if (uid === podUid) this.#endInherited(netnsCookie);
    }
  }

  /** Every pod this instance captures, those of an earlier process included: detach those that are gone by now. */
  listPods(): readonly CapturedPod[] {
    this.#assertOpen();
    const pods: CapturedPod[] = [];
    for (const key of this.#pods.keys(maxPods)) {
      const value = this.#pods.get(key);
      if (value === undefined) continue;
      const { uid } = decodePod(value);
      const netnsCookie = key.readBigUInt64LE();
      if (this.#answering.get(uid) === netnsCookie) continue;
      pods.push({ uid, netnsCookie, attached: this.#attached.get(uid)?.cookie === netnsCookie });
    }
    return pods;
  }

  /** Hooks at the cgroup root that do nothing any more, as somebody detached them: no pod is captured by those. */
  detachedHooks(): readonly string[] {
    this.#assertOpen();
    return this.#outbound.detachedHooks();
  }

  /** Attaches them again. @throws BpfError attach-failed, pin-failed */
  reattachHooks(): void {
    this.#assertOpen();
    this.#exclusively(() => {
      if (!this.#outbound.replaced) this.#outbound.reattach();
    });
  }

  /**
   * Whether what comes to a pod's `addresses` and `ports` from elsewhere is led to a live socket. Undefined for a pod that
   * this process did not attach.
   */
  proveSteering(
    podUid: string,
    question: { readonly addresses: readonly IpAddress[]; readonly ports: readonly number[] },
  ): SteeringProof | undefined {
    this.#assertOpen();
    const own = this.#attached.get(podUid);
    return own === undefined
      ? undefined
      : proveSteering({ ...question, linkFd: own.fd, programId: own.programId, netnsInode: own.netnsInode });
  }

  /**
   * With `keepPins` capture goes on without this process (nothing to keep if there is no pin directory); without, it
   * ends for every pod, unless a newer process has taken the instance over. Idempotent.
   */
  close(options: { readonly keepPins: boolean }): void {
    if (!this.#open) return;
    this.#open = false;
    for (const { fd } of this.#attached.values()) closeSync(fd);
    this.#attached.clear();
    if (options.keepPins) this.#outbound.close();
    else this.#exclusively(() => this.#remove());
    this.#lock?.close();
  }

  /** Fails closed: keeps the pins. */
  [Symbol.dispose](): void {
    this.close({ keepPins: true });
  }

  #takeOver(): void {
    if (!this.#outbound.attached) this.#outbound.attach(this.#pins);
  }

  /** Not what another process has taken over, or holds that this one never took over. */
  #remove(): void {
    const { attached, replaced } = this.#outbound;
    const isOurs = attached ? !replaced : this.#pins !== undefined && pinnedLinks(this.#pins.root) === 0;
    if (!isOurs) return this.#outbound.close();
    this.#outbound.detach();
    if (this.#pins !== undefined) removePinnedInstance(this.#pins.root);
  }

  #exclusively<T>(change: () => T): T {
    return this.#lock === undefined ? change() : this.#lock.exclusively(change);
  }

  #attachInbound(netns: number, cookie: bigint, capture: PodCapture): InboundLink {
    return attachInbound(
      netns,
      {
        ownAddresses: capture.addresses,
        hbonePort: capture.hbonePort ?? defaultHbonePort,
        ...(capture.dnsPort === undefined ? {} : { dnsPort: capture.dnsPort }),
        outboundPort: capture.outboundPort,
        netnsCookie: cookie,
        listeners: {
          hbone: capture.hboneListeners,
          plaintext: capture.plaintextListeners,
          outbound: capture.outboundListeners,
          dns: capture.dnsListeners ?? [],
        },
      },
      { pinPath: this.#pins?.inbound(cookie), admitted: this.#outbound.mapFd('admitted') },
    );
  }

  /** The same uid may come back in a new namespace: the old one's capture ends once the new one's is there. */
  #replaceAttachment(podUid: string, attachment: Attachment): void {
    const previous = this.#attached.get(podUid);
    this.#attached.set(podUid, attachment);
    if (previous === undefined) {
      for (const pod of this.listPods()) {
        if (pod.uid === podUid && !pod.attached) this.#endInherited(pod.netnsCookie);
      }
    } else if (previous.cookie === attachment.cookie) closeSync(previous.fd);
    else this.#end(previous);
  }

  /** False for what a newer process has taken over. */
  #end({ cookie, fd, programId }: Attachment, left?: Buffer): boolean {
    const takenOver = this.#outbound.replaced || linkProgramId(fd) !== programId;
    if (takenOver) {
      closeSync(fd);
      return false;
    }
    this.#forget(cookie, left);
    endLink(fd, this.#pins?.inbound(cookie));
    return true;
  }

  #endInherited(cookie: bigint): void {
    this.#forget(cookie);
    const path = this.#pins?.inbound(cookie);
    if (path !== undefined && existsSync(path)) endLink(openPinned(path), path);
  }

  #forget(cookie: bigint, left?: Buffer): void {
    if (left === undefined) this.#pods.delete(cookieKey(cookie));
    else this.#pods.set(cookieKey(cookie), left);
    this.#probeTargets.release(cookie);
  }

  #assertOpen(): void {
    if (!this.#open) throw new BpfError('closed', 'Could not use the redirect: it is closed');
  }
}

function podEntry(uid: string, capture: PodCapture): PodEntry {
  return {
    uid,
    ...firstOfEachFamily(capture.addresses),
    outboundPort: capture.outboundPort,
    ...(capture.dnsPort === undefined ? {} : { dnsPort: capture.dnsPort }),
  };
}

function cookieKey(cookie: bigint): Buffer {
  const key = Buffer.alloc(podKeySize);
  key.writeBigUInt64LE(cookie);
  return key;
}

/**
 * All captured connections of a pod go to one address and port, so connections in TIME_WAIT hold its source ports: at
 * the default (2: reuse them over loopback addresses only) a pod that closes first gets about 470 connections a second.
 * 1 reuses them after a second; RFC 6191 timestamps make that safe. An operator's 0 is respected.
 */
function allowPortReuse(): void {
  const path = '/proc/sys/net/ipv4/tcp_tw_reuse';
  try {
    if (readFileSync(path, 'utf8').trim() === '2') writeFileSync(path, '1');
  } catch {
    // Read-only /proc/sys: capture works all the same, with the lower bound.
  }
}
