// Watches over capture from the outside of it: proofs of each captured pod, what bypasses the mesh from before, repairs,
// and the report of it all to the controller. Wires those parts to one another; the pod manager captures through
// `capturer` and knows nothing of them.

import { randomUUID } from 'node:crypto';
import { release } from 'node:os';
import { cgroupMount } from '../bpf/cgroup-root.ts';
import { FlowMaps } from '../bpf/flow-maps.ts';
import { canResetSockets } from '../bpf/flow-reset.ts';
import type { Redirect } from '../bpf/redirect.ts';
import type { CniFacts, MissingFeature, NodeFacts, PodCapture } from '../mesh/node-report/node-report.ts';
import { NodeReportClient } from '../mesh/node-report/report-client.ts';
import type { ControllerAccess } from '../mesh/proxy/controller-access.ts';
import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { CertificateManager } from '../mesh/tls/certificate-manager.ts';
import { CaptureReport } from './capture-report.ts';
import { EarlierConnections, listOpenConnections } from './earlier-connections.ts';
import type { NodeMetrics } from './node-metrics.ts';
import type { PodCapturer } from './pod-capturer.ts';
import { PodCgroups } from './pod-cgroups.ts';
import type { PodDns } from './pod-dns.ts';
import type { PodManager } from './pod-manager.ts';
import { ProvenCapturer } from './proven-capturer.ts';
import { probeOutbound } from './self-probe.ts';
import { SelfProbes } from './self-probes.ts';

export interface CaptureWatchOptions {
  readonly redirect: Redirect;
  readonly capturer: PodCapturer;
  readonly dns: PodDns;
  readonly certificates: Pick<CertificateManager, 'state'>;
  readonly snapshot: () => Snapshot;
  /** What the data workers answer by (self-probe-proof.ts). */
  readonly secret: string;
  readonly workers: number;
  readonly version: string;
  readonly cni: () => CniFacts;
  readonly access: ControllerAccess;
  readonly metrics: NodeMetrics;
  readonly clock: Clock;
  /** A logger for each part. */
  readonly logger: (component: string) => Logger;
}

/** A data worker's turn takes microseconds; one that does not answer for this long serves nobody. */
const probeTimeoutMs = 2_000;
/** A process that has just started has nothing right to say about its pods before this, ms, or before all were tried. */
const firstReportMs = 5_000;
const lookMs = 50;

export class CaptureWatch {
  readonly capturer: ProvenCapturer;
  readonly #options: CaptureWatchOptions;
  readonly #cgroup = cgroupMount();
  readonly #instance = randomUUID();
  readonly #startedAt: number;
  readonly #missing = missingComforts();
  readonly #probes: SelfProbes;
  readonly #earlier: EarlierConnections;
  readonly #client: NodeReportClient;
  #report: CaptureReport | undefined;
  #first: Timer | undefined;
  #look: Timer | undefined;
  #unsubscribe = (): void => {};
  #reporting = false;
  #closed = false;

  constructor(options: CaptureWatchOptions) {
    this.#options = options;
    const { redirect, clock, logger, capturer, dns, access } = options;
    this.#startedAt = clock.now();
    const changed = (): void => this.#changed();
    const list = listOpenConnections(() => redirect.fds.sockets);
    this.#earlier = new EarlierConnections({ list, clock, logger: logger('pods'), onChange: changed });
    this.#probes = this.#openProbes(changed);
    this.capturer = new ProvenCapturer({
      capturer,
      probes: this.#probes,
      earlier: this.#earlier,
      dns,
      logger: logger('pods'),
    });
    this.#client = new NodeReportClient({
      ...access,
      read: () => ({ facts: this.#facts(), pods: this.captures() }),
      clock,
      logger: logger('node-report'),
    });
  }

  /** The manager that captures through `capturer`. Once. */
  follow(pods: PodManager): void {
    const { snapshot, clock, metrics } = this.#options;
    const report = new CaptureReport({
      pods,
      probes: this.#probes,
      earlier: this.#earlier,
      snapshot,
      clock,
    });
    this.#report = report;
    metrics.showCaptures(() => report.totals());
    this.#unsubscribe = pods.onChange(() => this.#changed());
    this.#first = clock.after(firstReportMs, () => this.#startReporting(), { unref: true });
  }

  captures(): readonly PodCapture[] {
    return this.#report?.captures() ?? [];
  }

  /** Proves, repairs and reports nothing any more; capture stays as it is. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#first?.cancel();
    this.#look?.cancel();
    this.#probes.close();
    this.#earlier.close();
    this.#client.close();
  }

  #changed(): void {
    if (this.#closed) return;
    if (this.#reporting) return this.#client.changed();
    // At a start many pods change in one moment.
    this.#look ??= this.#options.clock.after(lookMs, () => this.#lookWhetherSettled(), { unref: true });
  }

  #lookWhetherSettled(): void {
    this.#look = undefined;
    const captures = this.captures();
    if (captures.length > 0 && captures.every(({ state }) => state !== 'pending')) this.#startReporting();
  }

  #startReporting(): void {
    if (this.#reporting || this.#closed) return;
    this.#reporting = true;
    this.#first?.cancel();
    this.#client.start();
  }

  #openProbes(onChange: () => void): SelfProbes {
    const { redirect, secret, clock, logger, metrics } = this.#options;
    const flowMaps = new FlowMaps(redirect.fds);
    const cgroups = new PodCgroups({ attachedAt: this.#cgroup.root, clock });
    return new SelfProbes({
      redirect,
      probe: (target) => probeOutbound(target, { flowMaps, secret, clock, timeoutMs: probeTimeoutMs }),
      outOfReach: (pod) => cgroups.outOfReach(pod),
      recapture: (uid, reason) => this.capturer.recapture(uid, reason),
      onChange,
      metrics: metrics.proofs,
      clock,
      logger: logger('self-probe'),
    });
  }

  #facts(): NodeFacts {
    const { version, workers, cni, certificates } = this.#options;
    const ends = certificates.state().flatMap(({ notAfter }) => (notAfter === undefined ? [] : [notAfter]));
    return {
      instance: this.#instance,
      version,
      kernelRelease: release(),
      startedAt: this.#startedAt,
      workers,
      cgroupRoot: this.#cgroup.path,
      missingFeatures: this.#missing,
      cni: cni(),
      certificateExpiry: ends.length === 0 ? undefined : Math.min(...ends),
    };
  }
}

/** Kernel features without which the tunnel runs, but does less: the others are asked for before it starts. */
function missingComforts(): readonly MissingFeature[] {
  if (canResetSockets()) return [];
  const message = 'Connections between pods of this node always go through the proxy';
  return [{ feature: 'SOCK_DESTROY', needed: 'CONFIG_INET_DIAG_DESTROY', message }];
}
