// Connections that go past the proxy, from the kernel's events: who they are, whether they may live on, and what is
// reported of them. Each is two of what the proxy would report, one for either end, with the labels those would have.

import type { FlowEvent, LiveFlow } from '../bpf/same-node-layout.ts';
import type { Authorizer } from '../mesh/authz/authorizer.ts';
import { formatHostPort } from '../mesh/model/ip-address.ts';
import { formatSpiffeId, identityOf } from '../mesh/model/spiffe-id.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import { denialReason } from './access-log.ts';
import type { ConnectionEnd, ConnectionInfo } from './connection-info.ts';
import type { ConnectionSummary } from './connection-table.ts';
import type { Report } from './report.ts';
import { decideFlow, type LocalPod } from './same-node-verdict.ts';

/** What is done to flows. */
export interface FlowResetter {
  reset(
    flow: LiveFlow,
    cookie: bigint,
    netns: { readonly source: string | undefined; readonly destination: string | undefined },
  ): boolean;
}

export interface DirectFlowsOptions {
  readonly resetter: FlowResetter;
  readonly authorizer: Authorizer;
  readonly snapshot: () => Snapshot;
  readonly report: Pick<Report, 'opened' | 'closed' | 'failed'>;
  readonly clock: Clock;
}

interface DirectFlow {
  readonly cookie: bigint;
  readonly flow: LiveFlow;
  readonly source: LocalPod;
  readonly destination: LocalPod;
  readonly ends: readonly [ConnectionInfo, ConnectionInfo];
  readonly openedAt: number;
  cut: { readonly reason: string; readonly denied: boolean } | undefined;
}

/** What all flows of one kind have in common in one snapshot; whether they may live is asked once. */
interface FlowKind {
  readonly ends: readonly [KindOfEnd, KindOfEnd];
  readonly refusal: { readonly reason: string; readonly denied: boolean } | undefined;
}

type KindOfEnd = Omit<
  ConnectionInfo,
  'startedAt' | 'sourceAddress' | 'sourcePort' | 'destinationAddress' | 'destinationPort'
>;

interface Pods {
  readonly source: LocalPod;
  readonly destination: LocalPod;
}

/** More kinds at once are worked out anew each time they are needed. */
const maxKinds = 4_096;

export class DirectFlows {
  #options: DirectFlowsOptions;
  #flows = new Map<bigint, DirectFlow>();
  /** By source pod, destination pod and addresses; of `#kindsOf` only. */
  #kinds = new Map<string, FlowKind>();
  #kindsOf: Snapshot | undefined;

  constructor(options: DirectFlowsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Asked at once whether it may live: what changed while it connected counts. */
  opened(cookie: bigint, flow: LiveFlow, pods: Pods): void {
    if (this.#flows.has(cookie)) return;
    const ends = this.#describe(flow, pods);
    const openedAt = this.#options.clock.now();
    const opened = { cookie, flow, ...pods, ends, openedAt, cut: undefined };
    this.#flows.set(cookie, opened);
    for (const end of ends) this.#options.report.opened(end);
    this.#recheck(opened);
  }

  closed({ cookie, received, sent, rttUs, durationMs }: FlowEvent): void {
    const flow = this.#flows.get(cookie);
    if (flow === undefined) return;
    this.#flows.delete(cookie);
    const { cut } = flow;
    this.#report(flow, {
      received,
      sent,
      rttUs,
      durationMs,
      flag: cut?.denied === true ? 'DENY' : '-',
      ...(cut === undefined ? {} : { error: cut.reason }),
    });
  }

  /** A connect that was let through and never was established. */
  failed({ flow }: FlowEvent, pods: Pods): void {
    for (const end of this.#describe(flow, pods)) {
      if (end.direction === 'outbound')
        this.#options.report.failed(end, 'CONNECT', 'the application refused, or did not answer');
    }
  }

  /** Resets those that lost permission. @throws BpfError map-failed */
  recheckAll(): void {
    for (const flow of this.#flows.values()) this.#recheck(flow);
  }

  /** Resets all of a pod that is gone, or is another one now. @throws BpfError map-failed */
  cutAll(uid: WorkloadUid, reason: string): void {
    for (const flow of this.#flows.values()) {
      if (flow.source.pod.uid === uid || flow.destination.pod.uid === uid)
        this.#cut(flow, { reason, denied: false });
    }
  }

  /** After events were lost: brings the list to what the kernel has. What ended unseen is closed with what is known. */
  keepOnly(live: ReadonlyMap<bigint, LiveFlow>): void {
    for (const flow of [...this.#flows.values()]) {
      if (live.has(flow.cookie)) continue;
      this.#flows.delete(flow.cookie);
      this.#report(flow, { received: 0, sent: 0, flag: '-', error: 'its end was not seen' });
    }
  }

  /** For the admin page; bytes are counted at the end. */
  summaries(limit: number): ConnectionSummary[] {
    const now = this.#options.clock.now();
    const list: ConnectionSummary[] = [];
    for (const { ends, openedAt, source, destination } of this.#flows.values()) {
      for (const end of ends) {
        if (list.length >= limit) return list;
        const { pod } = end.direction === 'outbound' ? source : destination;
        list.push({
          pod: `${pod.namespace}/${pod.name}`,
          direction: end.direction,
          src: formatHostPort(end.sourceAddress, end.sourcePort),
          dst: formatHostPort(end.destinationAddress, end.destinationPort),
          protocol: 'KERNEL',
          ageMs: now - openedAt,
          received: 0,
          sent: 0,
        });
      }
    }
    return list;
  }

  #recheck(flow: DirectFlow): void {
    if (flow.cut !== undefined) return;
    const { refusal } = this.#kindOf(flow.flow, flow);
    if (refusal !== undefined) this.#cut(flow, refusal);
  }

  #refusal(flow: LiveFlow, { source, destination }: Pods): FlowKind['refusal'] {
    const { authorizer, snapshot } = this.#options;
    const decision = decideFlow(snapshot(), authorizer, {
      peer: identityOf(source.pod),
      sourceIp: flow.source.address,
      destination: destination.pod.uid,
      target: flow.destination,
    });
    if (decision?.allowed === true) return undefined;
    return decision === undefined
      ? { reason: 'the destination workload is not known here', denied: false }
      : { reason: `${denialReason(decision)} (policy change)`, denied: true };
  }

  #cut(flow: DirectFlow, cut: { readonly reason: string; readonly denied: boolean }): void {
    flow.cut ??= cut;
    const { source, destination } = flow;
    this.#options.resetter.reset(flow.flow, flow.cookie, {
      source: source.netnsPath,
      destination: destination.netnsPath,
    });
  }

  #report(flow: DirectFlow, end: ConnectionEnd): void {
    for (const info of flow.ends) this.#options.report.closed(info, end);
  }

  #describe(flow: LiveFlow, pods: Pods): readonly [ConnectionInfo, ConnectionInfo] {
    const { ends } = this.#kindOf(flow, pods);
    const own = {
      startedAt: this.#options.clock.now(),
      sourceAddress: flow.source.address,
      sourcePort: flow.source.port,
      destinationAddress: flow.destination.address,
      destinationPort: flow.destination.port,
    };
    return [
      { ...ends[0], ...own },
      { ...ends[1], ...own },
    ];
  }

  #kindOf(flow: LiveFlow, pods: Pods): FlowKind {
    const snapshot = this.#options.snapshot();
    if (snapshot !== this.#kindsOf || this.#kinds.size >= maxKinds) {
      this.#kinds.clear();
      this.#kindsOf = snapshot;
    }
    const { source, destination, asked } = flow;
    const addresses = `${source.address} ${asked.address} ${asked.port} ${destination.address} ${destination.port}`;
    const key = `${pods.source.netnsCookie} ${pods.destination.netnsCookie} ${addresses}`;
    let kind = this.#kinds.get(key);
    if (kind === undefined) {
      kind = { ends: this.#describeKind(flow, pods), refusal: this.#refusal(flow, pods) };
      this.#kinds.set(key, kind);
    }
    return kind;
  }

  #describeKind(flow: LiveFlow, { source, destination }: Pods): FlowKind['ends'] {
    const snapshot = this.#options.snapshot();
    const workload = snapshot.workloadByUid(source.pod.uid);
    const service =
      workload && snapshot.serviceForAddress(workload.network, flow.asked.address, workload.namespace);
    const common = {
      sourceWorkload: workload,
      sourceLabels: undefined,
      sourceIdentity: formatSpiffeId(identityOf(source.pod)),
      hboneAuthority: undefined,
      destinationWorkload: snapshot.workloadByUid(destination.pod.uid),
      destinationService: service,
      destinationServiceName: undefined,
      destinationIdentity: formatSpiffeId(identityOf(destination.pod)),
      // Proven by the kernel instead: counted under the labels the proxied ones have.
      mutualTls: true,
      via: 'same-node path',
    } as const;
    return [
      { ...common, direction: 'outbound', series: { labels: undefined } },
      { ...common, direction: 'inbound', series: { labels: undefined } },
    ];
  }
}
