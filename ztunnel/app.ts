// The node tunnel put together, on the main thread: configuration in (xDS, certificates), pods captured, data workers
// fed, pages served. The only file that wires concrete parts. Order: bind, load, connect, capture; nothing is captured
// before the first complete configuration arrived.

import { writeSync } from 'node:fs';
import { FlowMaps } from '../bpf/flow-maps.ts';
import { cgroupRoot } from '../bpf/cgroup-root.ts';
import { canResetSockets } from '../bpf/flow-reset.ts';
import { KubeletMaps } from '../bpf/kubelet-maps.ts';
import { Redirect } from '../bpf/redirect.ts';
import { SameNodeMaps } from '../bpf/same-node-maps.ts';
import { identityOf, type SpiffeId } from '../mesh/model/spiffe-id.ts';
import type { CniFacts } from '../mesh/node-report/node-report.ts';
import { systemClock, type Timer } from '../mesh/runtime/clock.ts';
import { createLogger, type Logger } from '../mesh/runtime/logger.ts';
import { Store } from '../mesh/state/store.ts';
import { CertificateManager } from '../mesh/tls/certificate-manager.ts';
import { GrpcSigner } from '../mesh/tls/grpc-signer.ts';
import { XdsClient } from '../mesh/xds/client.ts';
import { pinDirectoryOf, type ZtunnelConfig } from './config.ts';
import { type ControllerAccess, controllerAccess } from '../mesh/proxy/controller-access.ts';
import { ControllerRoots } from '../mesh/proxy/controller-roots.ts';
import { CaptureWatch } from './capture-watch.ts';
import { DataWorker } from './data-worker.ts';
import { KubeletWatch } from './kubelet-watch.ts';
import { HostnameLookups } from '../mesh/proxy/hostname-lookups.ts';
import { NodeCni } from './node-cni.ts';
import { NodePages } from './node-pages.ts';
import { NodeMetrics } from './node-metrics.ts';
import { PodDns } from './pod-dns.ts';
import { PodCapturer } from './pod-capturer.ts';
import { PodManager } from './pod-manager.ts';
import { openPodNetnsLocator } from './pod-netns.ts';
import { SameNode } from './same-node.ts';
import { SameNodeReport } from './same-node-report.ts';
import { makeSelfProbeSecret } from './self-probe-proof.ts';
import { Readiness } from '../mesh/proxy/readiness.ts';
import { version } from '../mesh/runtime/version.ts';
import { resolveBySystem } from '../mesh/proxy/system-resolver.ts';
import type { DrainKind } from './worker-drain.ts';
import type { DataPlaneSettings } from './worker-messages.ts';

/** How often a process asks whether a newer one has taken over, ms. */
const successorCheckMs = 100;
/** By then an earlier process has noticed. */
const handOverMs = 500;

export class Ztunnel {
  /** Rejects when a part failed that the process can not go on without. */
  readonly failed: Promise<never>;
  #config: ZtunnelConfig;
  #logger: Logger;
  #store = new Store();
  #roots: ControllerRoots | undefined;
  #hostnames = new HostnameLookups({ clock: systemClock, resolve: resolveBySystem });
  #fail: (error: Error) => void;
  #redirect: Redirect | undefined;
  #workers: DataWorker[] = [];
  #certificates: CertificateManager | undefined;
  #signer: GrpcSigner | undefined;
  #xds: XdsClient | undefined;
  #pods: PodManager | undefined;
  #captures: CaptureWatch | undefined;
  #dns: PodDns | undefined;
  #sameNode: SameNode | undefined;
  #sameNodeReport: SameNodeReport | undefined;
  #kubelet: KubeletWatch | undefined;
  #pages: NodePages | undefined;
  #metrics = new NodeMetrics({ version: version() });
  #readiness = new Readiness();
  #configured = this.#readiness.task('configuration from the controller');
  #settled = this.#readiness.task('pods of this node');
  /** Of this process: what its workers answer to a self-probe nobody else can. */
  #selfProbeSecret = makeSelfProbeSecret();
  #synced = false;
  #isConnected = false;
  #cni: NodeCni | undefined;
  #cniProblem: string | undefined;
  #cniEnd: Promise<void> | undefined;
  #successorCheck: Timer | undefined;
  #drainCut = Promise.withResolvers<void>();

  constructor(config: ZtunnelConfig, logger: Logger) {
    this.#config = config;
    this.#logger = logger;
    const failed = Promise.withResolvers<never>();
    this.failed = failed.promise;
    // Whoever races it handles it; nobody racing it yet must not end the process.
    failed.promise.catch(() => {});
    this.#fail = failed.reject;
  }

  /** Resolves when everything runs; capture follows with the first configuration. */
  async start(): Promise<void> {
    const config = this.#config;
    this.#redirect = Redirect.open(pinOption(config));
    this.#workers = Array.from({ length: config.workers }, (_, worker) => this.#startWorker(worker));
    this.#roots = await ControllerRoots.open({
      rootCertFile: config['root-cert'],
      stateDir: stateDirectory(config),
      logger: this.#child('roots'),
    });
    this.#signer = new GrpcSigner({ ...this.#access(), clock: systemClock });
    this.#certificates = new CertificateManager({
      signer: this.#signer,
      clock: systemClock,
      logger: this.#child('certificates'),
      ttlSeconds: config['certificate-life'],
    });
    this.#openSameNode(this.#redirect);
    this.#kubelet = new KubeletWatch({
      maps: new KubeletMaps(this.#redirect.kubeletFds),
      cgroupRoot: cgroupRoot(),
      clock: systemClock,
      logger: this.#child('kubelet'),
    });
    this.#pages = new NodePages({
      config,
      logger: this.#logger,
      snapshot: () => this.#store.snapshot(),
      workers: this.#workers,
      certificates: this.#certificates,
      version: version(),
      metrics: this.#metrics,
      readiness: this.#readiness,
      pods: () => this.#captures?.captures() ?? [],
      sameNode: this.#sameNode,
      sameNodeReport: this.#sameNodeReport,
      kubelet: this.#kubelet,
      quit: () => process.kill(process.pid, 'SIGTERM'),
    });
    await this.#pages.open();
    this.#dns = new PodDns({
      snapshot: () => this.#store.snapshot(),
      flowMaps: new FlowMaps(this.#redirect.fds),
      clock: systemClock,
      metrics: this.#metrics,
      logger: this.#child('dns'),
    });
    // Before the pods: a worker has a new certificate before it is given the pod that waited for it.
    this.#distribute();
    this.#captures = this.#openCaptures(this.#redirect, this.#dns, this.#certificates);
    this.#pods = new PodManager({
      node: config.node,
      capturer: this.#captures.capturer,
      netns: openPodNetnsLocator(),
      certificates: this.#certificates,
      metrics: this.#metrics,
      onSettled: () => {
        if (this.#synced && !this.#isPodLeftBehind()) this.#settled();
      },
      clock: systemClock,
      logger: this.#child('pods'),
    });
    this.#captures.follow(this.#pods);
    await this.#openCni(this.#pods);
    this.#connect();
  }

  /** Without it pods start before they are captured; those that run are served all the same. */
  async #openCni(pods: PodManager): Promise<void> {
    const nodeDirectory = this.#config['cni-dir'];
    if (nodeDirectory === undefined) return;
    const logger = this.#child('cni');
    try {
      this.#cni = await NodeCni.open({
        nodeDirectory,
        directories: { conf: this.#config['cni-conf-dir'], bin: this.#config['cni-bin-dir'] },
        pods,
        isCurrent: () => this.#synced && this.#isConnected,
        metrics: this.#metrics,
        clock: systemClock,
        logger,
      });
    } catch (error) {
      this.#cniProblem = error instanceof Error ? error.message : String(error);
      logger.error({ err: error }, 'No CNI step: pods start before they are captured');
    }
  }

  #cniFacts(): CniFacts {
    if (this.#cniProblem !== undefined) return { state: 'broken', message: this.#cniProblem };
    return this.#cni?.facts() ?? { state: 'off', message: '' };
  }

  #openCaptures(redirect: Redirect, dns: PodDns, certificates: CertificateManager): CaptureWatch {
    return new CaptureWatch({
      redirect,
      capturer: new PodCapturer({ redirect, workers: this.#workers, dns, sameNode: this.#sameNode }),
      dns,
      certificates,
      snapshot: () => this.#store.snapshot(),
      secret: this.#selfProbeSecret,
      workers: this.#workers.length,
      version: version(),
      cni: () => this.#cniFacts(),
      access: this.#access(),
      metrics: this.#metrics,
      clock: systemClock,
      logger: (component) => this.#child(component),
    });
  }

  /**
   * `asked`: open connections get the drain time to end, and `on-exit` says what becomes of captured pods. `failed`:
   * they stay captured, and so refused, until the next start.
   */
  async stop(why: 'asked' | 'failed'): Promise<void> {
    this.#successorCheck?.cancel();
    const how = this.#redirect?.replaced === true ? 'replaced' : 'alone';
    this.#retire();
    // Policies and certificates stay those of now for what is still served.
    if (why === 'asked') await this.#drain(how);
    this.#xds?.close();
    this.#pods?.close();
    this.#sameNodeReport?.flush();
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    await this.#pages?.close();
    this.#dns?.close();
    this.#certificates?.close();
    this.#signer?.close();
    this.#hostnames.close();
    await this.#cniEnd;
    await this.#roots?.flush();
    this.#redirect?.close({ keepPins: why === 'failed' || this.#config['on-exit'] === 'keep' });
  }

  /** Ends the drain of stop() now, also of a stop() to come: what is open is cut, everything is cleaned up all the same. */
  cutDrain(): void {
    this.#drainCut.resolve();
  }

  #startWorker(index: number): DataWorker {
    const config = this.#config;
    const redirect = this.#redirect as Redirect;
    const log = this.#child('data');
    const worker: DataWorker = new DataWorker(
      {
        settings: dataPlaneSettings(config),
        flowMaps: redirect.fds,
        selfProbe: { secret: this.#selfProbeSecret, worker: index },
      },
      {
        onAccessLog: (text, dropped) => this.#writeAccessLog(text, dropped),
        onLog: (level, message, fields) => log[level](fields, message),
        onProven: (connection) => this.#sameNode?.learn(connection),
        onLookUp: (hostname) => void this.#lookUp(hostname, worker),
        onDied: (error) => this.#fail(error),
      },
    );
    return worker;
  }

  /** On a kernel that could not take back what it lets through, nothing is let through. */
  #openSameNode(redirect: Redirect): void {
    if (!canResetSockets()) {
      this.#logger.info(
        'This kernel can not reset connections (CONFIG_INET_DIAG_DESTROY): all go through the proxy, also between pods of this node',
      );
      return;
    }
    this.#sameNodeReport = new SameNodeReport({
      clock: systemClock,
      format: this.#config['log-format'],
      write: (text, dropped) => this.#writeAccessLog(text, dropped),
    });
    this.#sameNode = new SameNode({
      maps: new SameNodeMaps(redirect.sameNodeFds),
      snapshot: () => this.#store.snapshot(),
      isIdentified: (pod) => this.#certificates?.get(identityOf(pod)) !== undefined,
      report: this.#sameNodeReport,
      clock: systemClock,
      logger: this.#child('same-node'),
    });
  }

  async #lookUp(hostname: string, worker: DataWorker): Promise<void> {
    const answer = await this.#hostnames.lookUp(hostname);
    worker.post({ kind: 'looked-up', hostname, answer });
  }

  #connect(): void {
    const config = this.#config;
    const log = this.#child('xds');
    this.#xds = new XdsClient(
      {
        ...this.#access(),
        node: {
          id: `ztunnel~1.1.1.1~${config.node}.weft-system~weft-system.svc.cluster.local`,
          metadata: { NAME: config.node, NAMESPACE: 'weft-system', NODE_NAME: config.node },
        },
        mode: 'wildcard',
        clock: systemClock,
        logger: log,
        metrics: this.#metrics.xds,
      },
      {
        onDelta: (delta) => this.#store.apply(delta),
        onSynced: () => {
          this.#synced = true;
          this.#configured();
          this.#takeOver();
          this.#pods?.reconcile(this.#store.snapshot());
          this.#cni?.enrolled(this.#store.snapshot().enrolledNamespaces);
          this.#logger.info('configuration complete');
        },
        onState: (state, reason) => {
          this.#isConnected = state === 'connected';
          log.info({ state, reason }, 'controller');
        },
      },
    );
    this.#xds.start();
  }

  /** Every change goes to the workers before capture changes, so that a new pod is never without its policies. */
  #distribute(): void {
    this.#store.subscribe((snapshot, delta) => {
      this.#sameNode?.modelChanged(delta);
      if (delta.meshConfig !== undefined) this.#sameNodeReport?.configure(delta.meshConfig);
      for (const worker of this.#workers) worker.post({ kind: 'model', delta });
      if (this.#synced && (delta.pods.length > 0 || delta.removed.pods.length > 0))
        this.#pods?.reconcile(snapshot);
      if (this.#synced && delta.enrolledNamespaces !== undefined)
        this.#cni?.enrolled(delta.enrolledNamespaces);
    });
    this.#certificates?.subscribe((certificate) => {
      this.#roots?.learn(certificate);
      const { privateKeyPem, chainPem, rootsPem } = certificate;
      const spiffeId: SpiffeId = certificate.spiffeId;
      for (const worker of this.#workers) {
        worker.post({ kind: 'certificate', spiffeId, credentials: { privateKeyPem, chainPem, rootsPem } });
      }
    });
  }

  #access(): ControllerAccess {
    return controllerAccess(this.#config, this.#roots as ControllerRoots);
  }

  async #drain(how: DrainKind): Promise<void> {
    const timer = systemClock.after(this.#config['drain-timeout-ms'], () => this.cutDrain());
    const drained = Promise.all(this.#workers.map((worker) => worker.drain(how)));
    await Promise.race([drained, this.#drainCut.promise]);
    timer.cancel();
  }

  /** An earlier process of this node goes on until here; from here on capture is this one's to decide. */
  #takeOver(): void {
    if (this.#successorCheck !== undefined) return;
    try {
      this.#redirect?.takeOver();
    } catch (error) {
      return this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
    this.#sameNode?.start(handOverMs);
    this.#successorCheck = this.#checkSuccessorLater();
  }

  #checkSuccessorLater(): Timer {
    return systemClock.after(successorCheckMs, () => this.#checkSuccessor(), { unref: true });
  }

  #checkSuccessor(): void {
    if (this.#redirect?.replaced !== true) {
      this.#successorCheck = this.#checkSuccessorLater();
      return;
    }
    this.#logger.info(
      'a newer node tunnel has taken over: what is open here goes on until this one is ended',
    );
    this.#retire();
  }

  /** Decides nothing about capture any more. */
  #retire(): void {
    // Pods that wait to start ask the process that comes after.
    this.#cniEnd ??= this.#cni?.close();
    this.#pods?.retire();
    this.#captures?.close();
    this.#kubelet?.close();
    // What is new goes through a proxy: of a newer process, or refused with the others.
    this.#sameNode?.close();
  }

  /** True while a pod that an earlier process captured and that is to be captured is not captured by this one. */
  #isPodLeftBehind(): boolean {
    const left = new Set<string>();
    for (const { uid, attached } of this.#redirect?.listPods() ?? []) if (!attached) left.add(uid);
    return left.size > 0 && this.#pods?.states().some(({ uid }) => left.has(uid)) === true;
  }

  #writeAccessLog(text: string, dropped: number): void {
    try {
      writeSync(1, text);
      if (dropped > 0)
        this.#logger.warn({ dropped }, 'access log lines dropped: too many connections at once');
    } catch {
      // A full or closed pipe must not hurt connections; the lines are lost.
    }
  }

  #child(component: string): Logger {
    return createLogger({ component, format: this.#config['log-format'] });
  }
}

function pinOption(config: ZtunnelConfig): { pinDir?: string } {
  const pinDir = pinDirectoryOf(config);
  return pinDir === undefined ? {} : { pinDir };
}

/** Each node of a machine has its own. */
function stateDirectory(config: ZtunnelConfig): string | undefined {
  const directory = config['state-dir'] ?? `/var/lib/weft/ztunnel/${config.node}`;
  return directory === 'none' ? undefined : directory;
}

function dataPlaneSettings(config: ZtunnelConfig): DataPlaneSettings {
  return {
    connectTimeoutMs: config['connect-timeout-ms'],
    handshakeTimeoutMs: config['handshake-timeout-ms'],
    idleTimeoutMs: config['idle-timeout-ms'],
    halfClosedTimeoutMs: config['half-closed-timeout-ms'],
    liveness: {
      pingAfterMs: config['ping-after-ms'],
      pingTimeoutMs: config['ping-timeout-ms'],
      unusedReleaseMs: config['unused-release-ms'],
    },
    workers: config.workers,
    maxConnections: config['max-connections'],
    bufferBudgetBytes: config['buffer-budget-mib'] * 1024 * 1024,
    logFormat: config['log-format'],
  };
}
