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
import { systemClock } from '../mesh/runtime/clock.ts';
import { createLogger, type Logger } from '../mesh/runtime/logger.ts';
import { Store } from '../mesh/state/store.ts';
import { CertificateManager } from '../mesh/tls/certificate-manager.ts';
import { GrpcSigner } from '../mesh/tls/grpc-signer.ts';
import { XdsClient } from '../mesh/xds/client.ts';
import { pinDirectoryOf, type ZtunnelConfig } from './config.ts';
import { type ControllerAccess, controllerAccess } from '../mesh/proxy/controller-access.ts';
import { ControllerRoots } from '../mesh/proxy/controller-roots.ts';
import { DataWorker } from './data-worker.ts';
import { KubeletWatch } from './kubelet-watch.ts';
import { HostnameLookups } from '../mesh/proxy/hostname-lookups.ts';
import { NodePages } from './node-pages.ts';
import { NodeMetrics } from './node-metrics.ts';
import { PodDns } from './pod-dns.ts';
import { PodManager } from './pod-manager.ts';
import { openPodNetnsLocator } from './pod-netns.ts';
import { SameNode } from './same-node.ts';
import { SameNodeReport } from './same-node-report.ts';
import { Readiness } from '../mesh/proxy/readiness.ts';
import { version } from '../mesh/runtime/version.ts';
import { resolveBySystem } from '../mesh/proxy/system-resolver.ts';
import type { DataPlaneSettings } from './worker-messages.ts';

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
  #dns: PodDns | undefined;
  #sameNode: SameNode | undefined;
  #sameNodeReport: SameNodeReport | undefined;
  #kubelet: KubeletWatch | undefined;
  #pages: NodePages | undefined;
  #metrics = new NodeMetrics({ version: version() });
  #readiness = new Readiness();
  #configured = this.#readiness.task('configuration from the controller');
  #settled = this.#readiness.task('pods of this node');
  #synced = false;
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
    this.#workers = Array.from({ length: config.workers }, () => this.#startWorker());
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
      pods: () => this.#pods?.states() ?? [],
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
    this.#pods = new PodManager({
      node: config.node,
      redirect: this.#redirect,
      netns: openPodNetnsLocator(),
      certificates: this.#certificates,
      workers: this.#workers,
      dns: this.#dns,
      sameNode: this.#sameNode,
      metrics: this.#metrics,
      onSettled: () => {
        if (this.#synced) this.#settled();
      },
      clock: systemClock,
      logger: this.#child('pods'),
    });
    this.#connect();
  }

  /**
   * `asked`: open connections get the drain time to end, and `on-exit` says what becomes of captured pods. `failed`:
   * they stay captured, and so refused, until the next start.
   */
  async stop(why: 'asked' | 'failed'): Promise<void> {
    this.#xds?.close();
    this.#pods?.close();
    this.#kubelet?.close();
    // Nobody hears of policy changes any more: what is new goes through the proxy, and so is refused with the others.
    this.#sameNode?.close();
    if (why === 'asked') await this.#drain();
    this.#sameNodeReport?.flush();
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    await this.#pages?.close();
    this.#dns?.close();
    this.#certificates?.close();
    this.#signer?.close();
    this.#hostnames.close();
    await this.#roots?.flush();
    this.#redirect?.close({ keepPins: why === 'failed' || this.#config['on-exit'] === 'keep' });
  }

  /** Ends the drain of stop() now, also of a stop() to come: what is open is cut, everything is cleaned up all the same. */
  cutDrain(): void {
    this.#drainCut.resolve();
  }

  #startWorker(): DataWorker {
    const config = this.#config;
    const redirect = this.#redirect as Redirect;
    const log = this.#child('data');
    const worker: DataWorker = new DataWorker(
      { settings: dataPlaneSettings(config), flowMaps: redirect.fds },
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
          this.#pods?.reconcile(this.#store.snapshot());
          this.#logger.info('configuration complete');
        },
        onState: (state, reason) => log.info({ state, reason }, 'controller'),
      },
    );
    this.#xds.start();
  }

  /** Every change goes to the workers before capture changes, so that a new pod is never without its policies. */
  #distribute(): void {
    this.#store.subscribe((snapshot, delta) => {
      this.#sameNode?.changed();
      if (delta.meshConfig !== undefined) this.#sameNodeReport?.configure(delta.meshConfig);
      for (const worker of this.#workers) worker.post({ kind: 'model', delta });
      if (this.#synced && (delta.pods.length > 0 || delta.removed.pods.length > 0))
        this.#pods?.reconcile(snapshot);
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

  async #drain(): Promise<void> {
    const timer = systemClock.after(this.#config['drain-timeout-ms'], () => this.cutDrain());
    await Promise.race([Promise.all(this.#workers.map((worker) => worker.drain())), this.#drainCut.promise]);
    timer.cancel();
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
