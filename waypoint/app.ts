// The waypoint put together, on the main thread: configuration in (xDS, one certificate), data workers fed, pages served.
// The only file that wires concrete parts. Nothing is served before the first complete configuration, the Gateway among
// it, and a certificate have arrived; after that a controller that is away changes nothing.

import { writeSync } from 'node:fs';
import { withNetns } from '../mesh/io/netns.ts';
import { diffModel } from '../mesh/model/diff.ts';
import { emptyModel, type ModelDelta } from '../mesh/model/model.ts';
import type { Identity } from '../mesh/model/spiffe-id.ts';
import { controllerAccess } from '../mesh/proxy/controller-access.ts';
import { ControllerRoots } from '../mesh/proxy/controller-roots.ts';
import { HostnameLookups } from '../mesh/proxy/hostname-lookups.ts';
import { Readiness } from '../mesh/proxy/readiness.ts';
import { resolveBySystem } from '../mesh/proxy/system-resolver.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { createLogger, type Logger } from '../mesh/runtime/logger.ts';
import { version } from '../mesh/runtime/version.ts';
import { Store } from '../mesh/state/store.ts';
import { CertificateManager } from '../mesh/tls/certificate-manager.ts';
import { GrpcSigner } from '../mesh/tls/grpc-signer.ts';
import type { WorkloadCertificate } from '../mesh/tls/workload-certificate.ts';
import { XdsClient } from '../mesh/xds/client.ts';
import { documentDecoders } from '../mesh/xds/document-decoders.ts';
import { gatewayName, stateDirectoryOf, type WaypointProgramConfig } from './config.ts';
import { DataWorker } from './data-worker.ts';
import { planeSettings } from './plane-settings.ts';
import { openListeners } from './listeners.ts';
import { ownAddress } from './own-address.ts';
import { limitTableMemory } from './resilience/limit-table.ts';
import { ProcessMetrics } from './telemetry/process-metrics.ts';
import { SpanExporter } from './telemetry/span-exporter.ts';
import { TokenJobs } from './token-jobs.ts';
import { WaypointPages } from './waypoint-pages.ts';
import type { WorkerStart } from './worker-messages.ts';

/** Token buckets that the workers share; 16 bytes each, four classes of intervals. */
const maxLimitKeys = 131_072;

export class Waypoint {
  /** Rejects when a part failed that the process can not go on without. */
  readonly failed: Promise<never>;
  readonly #config: WaypointProgramConfig;
  readonly #logger: Logger;
  readonly #store = new Store();
  readonly #hostnames = new HostnameLookups({ clock: systemClock, resolve: resolveBySystem });
  readonly #metrics = new ProcessMetrics({ version: version() });
  readonly #readiness = new Readiness();
  readonly #configured = this.#readiness.task('configuration from the controller');
  readonly #certified = this.#readiness.task('certificate');
  readonly #listening = this.#readiness.task('listeners');
  readonly #drainCut = Promise.withResolvers<void>();
  readonly #spans: SpanExporter;
  readonly #tokens: TokenJobs;
  #fail: (error: Error) => void;
  #roots: ControllerRoots | undefined;
  #signer: GrpcSigner | undefined;
  #certificates: CertificateManager | undefined;
  #xds: XdsClient | undefined;
  #pages: WaypointPages | undefined;
  /** None before serving begins. */
  #workers: DataWorker[] = [];
  #synced = false;
  #wanted: Identity | undefined;
  #certificate: WorkloadCertificate | undefined;
  #stopping = false;

  constructor(config: WaypointProgramConfig, logger: Logger) {
    this.#config = config;
    this.#logger = logger;
    const { namespace, name } = gatewayName(config);
    this.#spans = new SpanExporter({
      resource: { serviceName: name, serviceNamespace: namespace, version: version() },
      clock: systemClock,
      logger: this.#child('tracing'),
      onExported: (count) => this.#metrics.spansExported(count),
      onDropped: (count) => this.#metrics.spansDropped(count),
    });
    this.#tokens = new TokenJobs({ clock: systemClock, logger: this.#child('jwt'), metrics: this.#metrics });
    const failed = Promise.withResolvers<never>();
    this.failed = failed.promise;
    // Whoever races it handles it; nobody racing it yet must not end the process.
    failed.promise.catch(() => {});
    this.#fail = failed.reject;
  }

  /** Where the pages are, once started; 0 before. */
  get pagePorts(): { readonly admin: number; readonly metrics: number; readonly readiness: number } {
    return this.#pages?.ports ?? { admin: 0, metrics: 0, readiness: 0 };
  }

  /** Resolves when everything runs; serving follows with the first configuration and certificate. */
  async start(): Promise<void> {
    const config = this.#config;
    const roots = await ControllerRoots.open({
      rootCertFile: config['root-cert'],
      stateDir: stateDirectoryOf(config),
      logger: this.#child('roots'),
    });
    this.#roots = roots;
    const access = controllerAccess(config, roots);
    this.#signer = new GrpcSigner({ ...access, clock: systemClock });
    const certificates = new CertificateManager({
      signer: this.#signer,
      clock: systemClock,
      logger: this.#child('certificates'),
      ttlSeconds: config['certificate-life'],
    });
    this.#certificates = certificates;
    this.#pages = new WaypointPages({
      config,
      version: version(),
      logger: this.#logger,
      snapshot: () => this.#store.snapshot(),
      workers: () => this.#workers,
      certificates,
      metrics: this.#metrics,
      readiness: this.#readiness,
      quit: () => process.kill(process.pid, 'SIGTERM'),
    });
    await this.#pages.open();
    this.#store.subscribe((_snapshot, delta) => this.#onModel(delta));
    certificates.subscribe((certificate) => this.#onCertificate(certificate));
    this.#connect(access);
  }

  /** `asked`: what is under way gets the drain time to end. `failed`: it is cut. */
  async stop(why: 'asked' | 'failed'): Promise<void> {
    this.#stopping = true;
    this.#readiness.task('draining');
    this.#xds?.close();
    if (why === 'asked') await this.#drain();
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    await this.#spans.close();
    await this.#pages?.close();
    this.#certificates?.close();
    this.#signer?.close();
    this.#hostnames.close();
    await this.#roots?.flush();
  }

  /** Ends the drain of stop() now, also of a stop() to come. */
  cutDrain(): void {
    this.#drainCut.resolve();
  }

  #connect(access: ReturnType<typeof controllerAccess>): void {
    const log = this.#child('xds');
    const { namespace, name } = gatewayName(this.#config);
    this.#xds = new XdsClient(
      {
        ...access,
        node: {
          id: `waypoint~0.0.0.0~${name}.${namespace}~${namespace}.svc.cluster.local`,
          metadata: { NAME: name, NAMESPACE: namespace },
        },
        mode: 'wildcard',
        role: 'waypoint',
        documents: documentDecoders,
        clock: systemClock,
        logger: log,
        metrics: this.#metrics.xds,
      },
      {
        onDelta: (delta) => this.#store.apply(delta),
        onSynced: () => this.#onSynced(),
        onState: (state, reason) => log.info({ state, reason }, 'controller'),
      },
    );
    this.#xds.start();
  }

  #onModel(delta: ModelDelta): void {
    for (const worker of this.#workers) worker.post({ kind: 'model', delta });
    if (delta.meshConfig !== undefined) this.#spans.configure(delta.meshConfig.tracing);
    if (this.#synced) this.#wantCertificate();
  }

  #onSynced(): void {
    this.#synced = true;
    this.#logger.info('configuration complete');
    const { gateway } = this.#config;
    if (this.#store.snapshot().waypoints.get(gateway) === undefined)
      this.#logger.warn(
        { gateway },
        'The controller knows no such Gateway of class weft-waypoint; waiting for it',
      );
    this.#wantCertificate();
  }

  /** The identity is the Gateway's, in the mesh's trust domain: both are known from the configuration only. */
  #wantCertificate(): void {
    const { waypoints, meshConfig } = this.#store.snapshot();
    const waypoint = waypoints.get(this.#config.gateway);
    if (waypoint === undefined) return;
    this.#configured();
    const { namespace } = gatewayName(this.#config);
    const { trustDomain } = meshConfig;
    const { serviceAccount } = waypoint;
    const before = this.#wanted;
    if (before?.trustDomain === trustDomain && before.serviceAccount === serviceAccount) return;
    this.#wanted = { trustDomain, namespace, serviceAccount };
    this.#certificates?.want(this.#wanted);
    if (before !== undefined) this.#certificates?.release(before);
  }

  #onCertificate(certificate: WorkloadCertificate): void {
    this.#roots?.learn(certificate);
    this.#certificate = certificate;
    this.#certified();
    if (this.#workers.length === 0) this.#serve();
    else this.#postCertificate(certificate);
  }

  /** Once: workers know everything before they listen. */
  #serve(): void {
    if (this.#stopping) return;
    const snapshot = this.#store.snapshot();
    const start = this.#workerStart(snapshot.meshConfig.trustDomain);
    this.#workers = Array.from({ length: this.#config.workers }, () => this.#startWorker(start));
    const delta = diffModel(emptyModel, snapshot.toModel());
    for (const worker of this.#workers) worker.post({ kind: 'model', delta });
    this.#postCertificate(this.#certificate as WorkloadCertificate);
    this.#listen().then(
      () => this.#listening(),
      (error: Error) => this.#fail(error),
    );
  }

  async #listen(): Promise<void> {
    const { 'hbone-address': hbone, workers, 'plain-listener': plain, netns } = this.#config;
    const open = () => openListeners({ hbone, plain, workers });
    const sets = netns === undefined ? open() : withNetns(netns, open);
    await Promise.all(sets.map((listeners, i) => (this.#workers[i] as DataWorker).listen(listeners)));
    this.#logger.info({ gateway: this.#config.gateway, pages: this.pagePorts }, 'serving');
  }

  #postCertificate({ spiffeId, privateKeyPem, chainPem, rootsPem }: WorkloadCertificate): void {
    const credentials = { privateKeyPem, chainPem, rootsPem };
    for (const worker of this.#workers) worker.post({ kind: 'certificate', spiffeId, credentials });
  }

  #workerStart(trustDomain: string): WorkerStart {
    const config = this.#config;
    const { gateway, netns, workers } = config;
    const address = () => ownAddress(config['hbone-address']?.address);
    return {
      settings: planeSettings(config, { trustDomain }),
      gateway,
      logFormat: config['log-format'],
      netns,
      address: netns === undefined ? address() : withNetns(netns, address),
      limitMemory: workers > 1 ? limitTableMemory(maxLimitKeys) : undefined,
    };
  }

  #startWorker(start: WorkerStart): DataWorker {
    const log = this.#child('data');
    const worker: DataWorker = new DataWorker(start, {
      onAccessLog: (text, dropped) => this.#writeAccessLog(text, dropped),
      onLog: (level, message, fields) => log[level](fields, message),
      onSpans: (spans, dropped) => {
        this.#spans.add(spans);
        if (dropped > 0) this.#metrics.spansDropped(dropped);
      },
      onLookUp: (hostname) => void this.#lookUp(hostname, worker),
      onVerifyToken: (job) =>
        this.#tokens.run(job, (answer) => worker.post({ kind: 'token-verified', answer })),
      onDied: (error) => this.#fail(error),
    });
    return worker;
  }

  async #lookUp(hostname: string, worker: DataWorker): Promise<void> {
    const answer = await this.#hostnames.lookUp(hostname);
    worker.post({ kind: 'looked-up', hostname, answer });
  }

  async #drain(): Promise<void> {
    const timer = systemClock.after(this.#config['drain-timeout-ms'], () => this.cutDrain());
    await Promise.race([Promise.all(this.#workers.map((worker) => worker.drain())), this.#drainCut.promise]);
    timer.cancel();
  }

  #writeAccessLog(text: string, dropped: number): void {
    try {
      writeSync(1, text);
      if (dropped > 0) this.#logger.warn({ dropped }, 'access log lines dropped: too many requests at once');
    } catch {
      // A full or closed pipe must not hurt requests; the lines are lost.
    }
  }

  #child(component: string): Logger {
    return createLogger({ component, format: this.#config['log-format'] });
  }
}
