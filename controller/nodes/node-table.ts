// What the nodes have reported, as far as this replica heard it while it leads. A node keeps its last word for 30 s after
// it fell silent; then its pods are of unknown state. While two processes of a node run (an upgrade) a pod counts as
// captured if either says so: what one of them serves is served.

import type { WorkloadUid } from '../../mesh/model/workload.ts';
import {
  maxReportedPods,
  type NodeFacts,
  type NodeReport,
  type PodCapture,
  silentAfterMs,
} from '../../mesh/node-report/node-report.ts';
import type { Clock, Timer } from '../../mesh/runtime/clock.ts';

/** One node as it stands now. */
export interface NodeView {
  readonly node: string;
  readonly silent: boolean;
  /** ms since the epoch. */
  readonly reportedAt: number;
  /** The node's clock minus ours, ms. */
  readonly clockSkewMs: number;
  readonly facts: NodeFacts | undefined;
  readonly pods: readonly PodCapture[];
}

export type CaptureAnswer =
  | { readonly kind: 'told'; readonly capture: PodCapture }
  /** The node reports, and says nothing of this pod. */
  | { readonly kind: 'untold' }
  /** Too early to say anything: the node has had no time to report yet. */
  | { readonly kind: 'awaited' }
  | { readonly kind: 'silent' };

/** One stream of one process of a node. */
export interface ReportSession {
  receive(report: NodeReport): void;
  close(): void;
}

interface Told {
  facts: NodeFacts | undefined;
  readonly pods: Map<WorkloadUid, PodCapture>;
}

interface Node {
  readonly name: string;
  /** Of open streams; of the last one once all are closed. */
  told: Set<Told>;
  open: number;
  reportedAt: number;
  clockSkewMs: number;
  silent: boolean;
  patience: Timer | undefined;
}

export interface NodeTableOptions {
  readonly clock: Clock;
  /** What is known of this node changed; undefined: of all. */
  readonly onChange: (node: string | undefined) => void;
}

export class NodeTable {
  readonly #options: NodeTableOptions;
  readonly #nodes = new Map<string, Node>();
  /** Nodes report here: `waiting` for those that have not done so yet, or for long enough (`settled`). */
  #phase: 'following' | 'waiting' | 'settled' = 'following';
  #grace: Timer | undefined;

  constructor(options: NodeTableOptions) {
    this.#options = options;
  }

  /** From here on nodes report to this replica, or no longer do; what was known is forgotten. */
  lead(leading: boolean): void {
    const { clock, onChange } = this.#options;
    this.#grace?.cancel();
    for (const { patience } of this.#nodes.values()) patience?.cancel();
    this.#nodes.clear();
    this.#phase = leading ? 'waiting' : 'following';
    if (!leading) return;
    const settle = (): void => {
      this.#phase = 'settled';
      onChange(undefined);
    };
    this.#grace = clock.after(silentAfterMs, settle, { unref: true });
  }

  get leading(): boolean {
    return this.#phase !== 'following';
  }

  /** @param node as its token says */
  open(node: string): ReportSession {
    const entry = this.#entry(node);
    const told: Told = { facts: undefined, pods: new Map() };
    entry.open++;
    let closed = false;
    return {
      receive: (report) => {
        if (!closed && this.#nodes.get(node) === entry) this.#receive(entry, told, report);
      },
      close: () => {
        if (closed) return;
        closed = true;
        entry.open--;
        // The last word of a node stays until its time is over.
        if (entry.told.size > 1) this.#drop(entry, told);
      },
    };
  }

  captureOf(node: string, uid: WorkloadUid): CaptureAnswer {
    const entry = this.#nodes.get(node);
    if (entry === undefined || entry.told.size === 0)
      return { kind: this.#phase === 'settled' ? 'silent' : 'awaited' };
    if (entry.silent) return { kind: 'silent' };
    const capture = best([...entry.told], uid);
    return capture === undefined ? { kind: 'untold' } : { kind: 'told', capture };
  }

  views(): readonly NodeView[] {
    return [...this.#nodes.values()].filter(({ told }) => told.size > 0).map(viewOf);
  }

  /** Forgets nodes that fell silent and are not of those that `present` gives, which is asked only if there are such. */
  prune(present: () => { has(node: string): boolean }): void {
    const candidates = [...this.#nodes.values()].filter(({ silent, open }) => silent && open === 0);
    if (candidates.length === 0) return;
    const known = present();
    for (const { name } of candidates) if (!known.has(name)) this.#nodes.delete(name);
  }

  close(): void {
    this.lead(false);
  }

  #entry(name: string): Node {
    const known = this.#nodes.get(name);
    if (known !== undefined) return known;
    const entry: Node = {
      name,
      told: new Set(),
      open: 0,
      reportedAt: 0,
      clockSkewMs: 0,
      silent: false,
      patience: undefined,
    };
    this.#nodes.set(name, entry);
    return entry;
  }

  #receive(entry: Node, told: Told, report: NodeReport): void {
    const { clock, onChange } = this.#options;
    // A new process speaks for those whose streams are gone.
    if (!entry.told.has(told)) {
      if (entry.open === 1) entry.told.clear();
      entry.told.add(told);
    }
    if (report.complete) told.pods.clear();
    if (report.facts !== undefined) told.facts = report.facts;
    for (const uid of report.removed) told.pods.delete(uid);
    for (const pod of report.pods) {
      if (told.pods.size < maxReportedPods || told.pods.has(pod.uid)) told.pods.set(pod.uid, pod);
    }
    entry.reportedAt = clock.now();
    entry.clockSkewMs = report.sentAt - entry.reportedAt;
    const spoke = entry.silent;
    entry.silent = false;
    entry.patience?.cancel();
    entry.patience = clock.after(silentAfterMs, () => this.#fellSilent(entry), { unref: true });
    const isHeartbeat = !report.complete && report.pods.length + report.removed.length === 0;
    if (!isHeartbeat || spoke) onChange(entry.name);
  }

  #drop(entry: Node, told: Told): void {
    if (entry.told.delete(told)) this.#options.onChange(entry.name);
  }

  #fellSilent(entry: Node): void {
    entry.silent = true;
    this.#options.onChange(entry.name);
  }
}

function viewOf({ name, silent, reportedAt, clockSkewMs, told }: Node): NodeView {
  const all = [...told];
  const uids = new Set(all.flatMap(({ pods }) => [...pods.keys()]));
  const pods = [...uids].map((uid) => best(all, uid)).filter((pod) => pod !== undefined);
  return { node: name, silent, reportedAt, clockSkewMs, facts: newest(all)?.facts, pods };
}

/** Whoever has it captured; else what the newest process says. */
function best(told: readonly Told[], uid: WorkloadUid): PodCapture | undefined {
  const captured = told.map(({ pods }) => pods.get(uid)).find((pod) => pod?.state === 'captured');
  return captured ?? newest(told.filter(({ pods }) => pods.has(uid)))?.pods.get(uid);
}

function newest(told: readonly Told[]): Told | undefined {
  return told.toSorted((a, b) => (b.facts?.startedAt ?? 0) - (a.facts?.startedAt ?? 0))[0];
}
