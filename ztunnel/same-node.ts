// The same-node fast path, on the main thread: learns from proxied connections which pairs talk, writes verdicts for
// those that need no proxy, and takes everything back when something changes that one of them was read from. Invariants:
// such a change first makes all verdicts void, then is looked at; a verdict is written only for endpoints that a proxied connection reached and that
// the policies of now allow; whatever fails here leaves connections to the proxy.

import type { LiveFlow, ShortcutKey } from '../bpf/same-node-layout.ts';
import type { SameNodeMaps } from '../bpf/same-node-maps.ts';
import { Authorizer } from '../mesh/authz/authorizer.ts';
import { formatHostPort } from '../mesh/model/ip-address.ts';
import type { ModelDelta } from '../mesh/model/model.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { ConnectionSummary } from './connection-table.ts';
import type { Destination } from './resolve.ts';
import type { Report } from './report.ts';
import { VerdictDependencies } from './same-node-dependencies.ts';
import { DirectFlows } from './same-node-flows.ts';
import { decideDirect, type LocalPod } from './same-node-verdict.ts';

/** A proxied connection between two pods of this node that was authorised at both ends. */
export interface ProvenConnection {
  readonly source: WorkloadUid;
  /** As the application named it. */
  readonly destination: Destination;
  readonly endpoint: WorkloadUid;
  readonly endpointAddress: Destination;
}

export interface SameNodeOptions {
  readonly maps: SameNodeMaps;
  readonly snapshot: () => Snapshot;
  /** False while a pod has no valid certificate: what could not go through the proxy does not go past it. */
  readonly isIdentified: (pod: NodePod) => boolean;
  readonly report: Pick<Report, 'opened' | 'closed' | 'failed'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface SameNodeState {
  readonly verdicts: number;
  readonly flows: number;
  readonly refused: number;
  readonly lost: number;
  readonly full: number;
}

interface Learnt {
  readonly source: WorkloadUid;
  readonly destination: Destination;
  /** `uid address:port` of endpoints that the proxy reached. */
  readonly proven: Set<string>;
  written: ShortcutKey | undefined;
  /** Monotonic ms: after a failed connect the proxy, which tries other endpoints, decides for a while. */
  blockedUntil: number;
}

/** As many as the kernel's map holds. */
const maxLearnt = 8192;
/** Changes that come together are looked at together; until then the proxy decides. */
const settleMs = 20;
/** How often events are looked at, ms: while there is something to see, and else. */
const busyPollMs = 50;
const idlePollMs = 500;
const blockMs = 10_000;
const identityCheckMs = 5_000;
const maxReleased = 1_024;
/** How long flows of an earlier process may wait for their pods to be captured again, ms. */
const adoptMs = 30_000;

export class SameNode {
  #options: SameNodeOptions;
  #authorizer = new Authorizer();
  #flows: DirectFlows;
  #pods = new Map<WorkloadUid, LocalPod>();
  #byCookie = new Map<bigint, LocalPod>();
  #learnt = new Map<string, Learnt>();
  #dependencies = new VerdictDependencies();
  /** The state before the next change. */
  #seen: Snapshot;
  #settling: Timer | undefined;
  #rechecking: Timer | undefined;
  #poll: Timer | undefined;
  #lost = 0;
  /** Namespaces of pods that left; a cookie is never used again. */
  #released = new Map<bigint, 'drain' | 'now'>();
  #unidentified = new Set<WorkloadUid>();
  #identitiesAt = 0;
  #adopted = false;
  #adoptUntil = 0;
  #adoption: Timer | undefined;
  #written = 0;
  #open = false;
  #closed = false;

  /** Does nothing before start(). */
  constructor(options: SameNodeOptions) {
    this.#options = options;
    const { maps, snapshot, report, clock } = options;
    this.#seen = snapshot();
    this.#flows = new DirectFlows({
      resetter: maps,
      authorizer: this.#authorizer,
      snapshot,
      report,
      clock,
    });
  }

  /**
   * From here on nothing that an earlier process has decided holds; after `delayMs` the kernel lets through what this one
   * says. By then an earlier one that lives must have closed its own: the ring of events has one reader.
   */
  start(delayMs = 0): void {
    this.#guarded(() => this.#options.maps.stop());
    if (delayMs === 0) this.#begin();
    else this.#poll = this.#options.clock.after(delayMs, () => this.#begin(), { unref: true });
  }

  #begin(): void {
    const { maps, clock } = this.#options;
    this.#open = true;
    this.#lost = maps.counters().lost;
    this.#adoptUntil = clock.monotonic() + adoptMs;
    this.#adoption = clock.after(adoptMs, () => this.changed(), { unref: true });
    this.#poll = this.#pollLater();
    this.changed();
  }

  podCaptured(pod: NodePod, netns: { readonly netnsCookie: bigint; readonly netnsPath: string }): void {
    const before = this.#pods.get(pod.uid);
    if (before !== undefined && before.netnsCookie !== netns.netnsCookie) this.podReleased(pod.uid, 'now');
    const local = { pod, ...netns };
    this.#pods.set(pod.uid, local);
    this.#byCookie.set(netns.netnsCookie, local);
    this.changed();
  }

  /** `now`: the pod is gone or another one, open flows are reset. `drain`: they finish, as proxied ones do. */
  podReleased(uid: WorkloadUid, how: 'drain' | 'now'): void {
    const local = this.#pods.get(uid);
    if (local === undefined) return;
    if (this.#open) {
      this.#guarded(() => {
        this.#options.maps.renew();
        // What has opened by now is known, and cut or kept as the others.
        this.#drain();
      });
    }
    this.#pods.delete(uid);
    this.#byCookie.delete(local.netnsCookie);
    this.#rememberReleased(local.netnsCookie, how);
    this.#unidentified.delete(uid);
    for (const [key, learnt] of this.#learnt) {
      if (learnt.source === uid || [...learnt.proven].some((text) => text.startsWith(`${uid} `)))
        this.#learnt.delete(key);
    }
    if (how === 'now') this.#guarded(() => this.#flows.cutAll(uid, 'the pod is gone'));
    this.changed();
  }

  /** Something that verdicts depend on has changed, or may have. To be called before anybody else is told. */
  changed(): void {
    if (!this.#open) return;
    this.#guarded(() => this.#options.maps.renew());
    this.#written = 0;
    this.#settling ??= this.#options.clock.after(settleMs, () => this.#settle());
  }

  /** `snapshot()` has changed by this. To be called before anybody else is told. */
  modelChanged(delta: ModelDelta): void {
    const before = this.#seen;
    this.#seen = this.#options.snapshot();
    const isLocal = (uid: WorkloadUid): boolean => this.#pods.has(uid);
    if (this.#dependencies.concern(delta, { before, isLocal })) return this.changed();
    if (this.#flows.size > 0) this.#rechecking ??= this.#options.clock.after(settleMs, () => this.#recheck());
  }

  /** A worker saw it: the pair may have earned a verdict. */
  learn({ source, destination, endpoint, endpointAddress }: ProvenConnection): void {
    if (!this.#open || !this.#pods.has(source) || !this.#pods.has(endpoint)) return;
    const key = keyOf(source, destination);
    let learnt = this.#learnt.get(key);
    if (learnt === undefined) {
      learnt = { source, destination, proven: new Set(), written: undefined, blockedUntil: 0 };
      if (this.#learnt.size >= maxLearnt) this.#forgetOldest();
      this.#learnt.set(key, learnt);
    }
    const proof = proofOf(endpoint, endpointAddress);
    // Bounded by the endpoints a destination has had; more than a verdict can have is of no use.
    if (learnt.proven.size >= 64 && !learnt.proven.has(proof)) learnt.proven.clear();
    learnt.proven.add(proof);
    if (this.#settling === undefined) this.#guarded(() => this.#write(learnt));
  }

  state(): SameNodeState {
    const { refused, lost, full } = this.#options.maps.counters();
    return { verdicts: this.#written, flows: this.#flows.size, refused, lost, full };
  }

  connections(limit: number): ConnectionSummary[] {
    this.drain();
    return this.#flows.summaries(limit);
  }

  /** Reads what the kernel has told; for tests and before metrics are shown. */
  drain(): void {
    if (this.#open) this.#drain();
  }

  /** Nothing new is let through from here on; what is open lives on. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#settling?.cancel();
    this.#rechecking?.cancel();
    this.#poll?.cancel();
    this.#adoption?.cancel();
    this.drain();
    this.#open = false;
    this.#options.maps.close();
  }

  #settle(): void {
    this.#settling = undefined;
    this.#guarded(() => {
      this.#adopt();
      // In this order: what lost permission goes before anything new is let through.
      this.#drain();
      this.#flows.recheckAll();
      this.#written = 0;
      this.#dependencies.clear();
      for (const learnt of this.#learnt.values()) this.#write(learnt);
    });
  }

  /** Open flows are asked again whatever has changed. */
  #recheck(): void {
    this.#rechecking = undefined;
    if (this.#open) this.#guarded(() => this.#flows.recheckAll());
  }

  /** Flows that an earlier process let through: held to the policies from now on, and counted. */
  #adopt(): void {
    if (this.#adopted) return;
    this.#adopted = true;
    this.#synchronise();
  }

  #synchronise(): void {
    const live = this.#options.maps.liveFlows();
    this.#flows.keepOnly(live);
    for (const [cookie, flow] of live) {
      this.#take(cookie, flow);
    }
  }

  #write(learnt: Learnt): void {
    const { maps, snapshot, clock } = this.#options;
    const { destination } = learnt;
    const state = snapshot();
    this.#dependencies.add(state, state.workloadByUid(learnt.source), destination.address);
    const source = this.#pods.get(learnt.source);
    if (source === undefined || clock.monotonic() < learnt.blockedUntil) return;
    const verdict = decideDirect(state, this.#authorizer, { source, destination, pods: this.#pods });
    const proven =
      verdict.kind === 'direct' &&
      this.#isIdentified(source.pod.uid) &&
      verdict.endpoints.every(
        (endpoint) => learnt.proven.has(proofOf(endpoint.uid, endpoint)) && this.#isIdentified(endpoint.uid),
      );
    if (!proven) return this.#forget(learnt);
    learnt.written = { netnsCookie: source.netnsCookie, destination };
    maps.allow(learnt.written, verdict.endpoints);
    this.#written++;
  }

  #isIdentified(uid: WorkloadUid): boolean {
    const local = this.#pods.get(uid);
    return local !== undefined && this.#options.isIdentified(local.pod);
  }

  /** Certificates end without a change of the model. */
  #checkIdentities(): void {
    const now = this.#options.clock.monotonic();
    if (now < this.#identitiesAt) return;
    this.#identitiesAt = now + identityCheckMs;
    for (const { pod } of this.#pods.values()) {
      const { uid } = pod;
      const identified = this.#options.isIdentified(pod);
      if (identified === !this.#unidentified.has(uid)) continue;
      if (identified) this.#unidentified.delete(uid);
      else this.#unidentified.add(uid);
      this.changed();
    }
  }

  #forget(learnt: Learnt): void {
    if (learnt.written !== undefined) this.#options.maps.forget(learnt.written);
    learnt.written = undefined;
  }

  /** Of the last ones only: connects that were under way end within moments. */
  #rememberReleased(cookie: bigint, how: 'drain' | 'now'): void {
    this.#released.set(cookie, how);
    if (this.#released.size <= maxReleased) return;
    for (const oldest of this.#released.keys()) {
      this.#released.delete(oldest);
      return;
    }
  }

  #forgetOldest(): void {
    for (const [key, learnt] of this.#learnt) {
      this.#guarded(() => this.#forget(learnt));
      this.#learnt.delete(key);
      return;
    }
  }

  #pollLater(): Timer {
    const busy = this.#flows.size > 0 || this.#written > 0;
    return this.#options.clock.after(busy ? busyPollMs : idlePollMs, () => this.#look(), { unref: true });
  }

  #look(): void {
    this.#guarded(() => {
      this.#drain();
      // Another process took over and left again: what was written here holds no more.
      if (!this.#options.maps.isCurrent) this.changed();
      this.#checkIdentities();
    });
    this.#poll = this.#pollLater();
  }

  #drain(): void {
    const { maps } = this.#options;
    for (const event of maps.events()) {
      if (event.kind === 'closed') this.#flows.closed(event);
      else if (event.kind === 'opened') this.#take(event.cookie, event.flow);
      else {
        const pods = this.#podsOf(event.flow);
        if (pods === undefined) continue;
        this.#flows.failed(event, pods);
        this.#block(pods.source.pod.uid, event.flow.asked);
      }
    }
    const { lost } = maps.counters();
    if (lost === this.#lost) return;
    this.#lost = lost;
    this.#synchronise();
  }

  /** One whose pod is not captured has lost what it was let through for; after a start pods come one by one. */
  #take(cookie: bigint, flow: LiveFlow): void {
    const source = this.#byCookie.get(flow.sourceNetns);
    const destination = this.#byCookie.get(flow.destinationNetns);
    if (source !== undefined && destination !== undefined)
      return this.#flows.opened(cookie, flow, { source, destination });
    this.#adopted = false;
    const left = [flow.sourceNetns, flow.destinationNetns].map((cookie) => this.#released.get(cookie));
    // It was under way when its pod left the mesh, and finishes as what was open then.
    if (left.includes('drain') && !left.includes('now')) return;
    if (!left.includes('now') && this.#options.clock.monotonic() < this.#adoptUntil) return;
    this.#options.maps.reset(flow, cookie, {
      source: source?.netnsPath,
      destination: destination?.netnsPath,
    });
  }

  #block(source: WorkloadUid, asked: Destination): void {
    const learnt = this.#learnt.get(keyOf(source, asked));
    if (learnt === undefined) return;
    learnt.blockedUntil = this.#options.clock.monotonic() + blockMs;
    learnt.proven.clear();
    this.#forget(learnt);
  }

  #podsOf({ sourceNetns, destinationNetns }: { sourceNetns: bigint; destinationNetns: bigint }) {
    const source = this.#byCookie.get(sourceNetns);
    const destination = this.#byCookie.get(destinationNetns);
    return source === undefined || destination === undefined ? undefined : { source, destination };
  }

  /** A kernel call that fails must not take the node tunnel with it; without verdicts the proxy decides. */
  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.logger.error(
        { error: reason },
        'The same-node path failed: connections go through the proxy',
      );
      try {
        this.#options.maps.stop();
      } catch {
        // Told already.
      }
    }
  }
}

function keyOf(source: WorkloadUid, { address, port }: Destination): string {
  return `${source} ${formatHostPort(address, port)}`;
}

function proofOf(uid: WorkloadUid, { address, port }: Destination): string {
  return `${uid} ${formatHostPort(address, port)}`;
}
