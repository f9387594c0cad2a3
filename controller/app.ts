// The controller put together: source -> translate -> publish, the certificate authority and the services nodes call.
// The only file that wires concrete parts. Nothing is served before the first manifests were read, because a node
// takes an empty answer for an empty mesh.

import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseIpAddress } from '../mesh/model/ip-address.ts';
import type { NodesPage } from '../mesh/node-report/nodes-page.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import { createLogger, type Logger } from '../mesh/runtime/logger.ts';
import { version } from '../mesh/runtime/version.ts';
import type { Authenticate } from '../mesh/xds/caller.ts';
import { GrpcServer } from '../mesh/xds/grpc-server.ts';
import { ResourceStore } from '../mesh/xds/resource-store.ts';
import { XdsServer } from '../mesh/xds/server.ts';
import { openAdminSecret } from './admin-secret.ts';
import { AdminServer, type RotationStep } from './admin-server.ts';
import { CertificateAuthority, type CertificateAuthorityOptions } from './ca/certificate-authority.ts';
import { DirectoryIssuer } from './ca/given-issuer.ts';
import { ServerCertificate, type ServerKeyPair } from './ca/server-certificate.ts';
import type { Cluster } from './cluster.ts';
import type { ControllerConfig } from './config.ts';
import { ControllerMetrics } from './controller-metrics.ts';
import { addCertificateService } from './identity/certificate-service.ts';
import { type Authenticator, ownerOf } from './identity/authenticator.ts';
import { JoinTokens } from './identity/join-tokens.ts';
import { firstOf } from './identity/token-review.ts';
import { NodeTable } from './nodes/node-table.ts';
import { captureTotals, nodesPage } from './nodes/nodes-page.ts';
import { ReportService } from './nodes/report-service.ts';
import { ModelPodsOnNode } from './pods-on-node.ts';
import { ModelPublisher } from './publish.ts';
import { DirectorySource } from './source/directory-source.ts';
import { formatProblem, type Problem } from './source/problem.ts';
import type { ResourceSource, ResourcesHandler } from './source/resource-source.ts';
import { allConditions, type ObjectStatus, isBadCondition } from './translate/statuses.ts';
import type { Translation } from './translate/translate.ts';
import { Translator, type TranslatorInput } from './translator.ts';
import { ModelWaypoints } from './waypoint-identities.ts';

/** Certificate requests under way when the controller stops get this long to end. */
const stopGraceMs = 2_000;

export interface ControllerPorts {
  readonly grpc: number;
  readonly admin: number;
}

/** Where the roots are for nodes to copy; rewritten when they change. */
export function rootCertificatePath(stateDir: string): string {
  return join(stateDir, 'root-cert.pem');
}

export class Controller {
  readonly #config: ControllerConfig;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #store: ResourceStore;
  readonly #publisher: ModelPublisher;
  readonly #pods: ModelPodsOnNode;
  readonly #waypoints = new ModelWaypoints();
  readonly #tokens: JoinTokens;
  readonly #xds: XdsServer;
  readonly #nodes: NodeTable;
  readonly #reports: ReportService;
  readonly #metrics: ControllerMetrics;
  readonly #admin: AdminServer;
  readonly #stops: (() => Promise<void> | void)[] = [];
  #cluster: Cluster | undefined;
  #authority: CertificateAuthority | undefined;
  #adminSecret: string | undefined;
  #statuses: readonly ObjectStatus[] = [];
  #problems: readonly Problem[] = [];
  #reported: ReadonlySet<string> = new Set();
  #ready = false;
  #stopped = false;

  constructor(config: ControllerConfig, { clock }: { readonly clock: Clock }) {
    const { logFormat: format, logLevel: level } = config;
    const logger = (component: string) => createLogger({ component, format, level });
    this.#config = config;
    this.#clock = clock;
    this.#logger = logger('controller');
    // Sources debounce changes already; a second wait here would only add to the first.
    this.#store = new ResourceStore({ clock, quietMs: 0 });
    this.#publisher = new ModelPublisher({ store: this.#store });
    this.#pods = new ModelPodsOnNode({ clock });
    this.#tokens = new JoinTokens({ stateDir: config.stateDir, clock });
    const authenticate = authenticateCaller({
      authenticate: async (authorization) => await this.#authenticator().authenticate(authorization),
    });
    this.#xds = new XdsServer({ store: this.#store, authenticate, clock, logger: logger('xds') });
    this.#nodes = new NodeTable({ clock, onChange: (node) => this.#cluster?.nodeChanged(node) });
    this.#reports = new ReportService({ table: this.#nodes, authenticate, logger: logger('nodes') });
    this.#metrics = new ControllerMetrics({
      reportingNodes: () => this.#nodes.views().filter(({ silent }) => !silent).length,
      captures: () => captureTotals(this.#publisher.model, this.#nodes),
      connectedNodes: () => this.#xds.streams().length,
      cluster: () => this.#cluster?.report(),
      xdsCounters: () => this.#xds.counters,
    });
    this.#admin = new AdminServer({
      ready: () => this.#ready,
      metrics: async () => ({
        contentType: this.#metrics.registry.contentType,
        text: await this.#metrics.registry.metrics(),
      }),
      model: () => this.#publisher.model,
      statuses: () => this.#statuses,
      problems: () => this.#problems,
      nodes: () => this.#xds.streams(),
      nodesPage: () => this.#nodesPage(),
      certificates: () => this.#authority?.rotation() ?? {},
      cluster: () => this.#cluster?.report(),
      secret: () => this.#adminSecret,
      rotate: (step) => this.#rotate(step),
    });
  }

  /** Reads the manifests, then listens. On failure, and when stopped meanwhile, everything opened so far is closed again. */
  async start(): Promise<ControllerPorts> {
    try {
      return await this.#start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Ends every stream, lets certificate requests finish and closes everything. Idempotent. */
  async stop(): Promise<void> {
    this.#ready = false;
    this.#stopped = true;
    for (let stop = this.#stops.pop(); stop !== undefined; stop = this.#stops.pop()) await stop();
  }

  async #start(): Promise<ControllerPorts> {
    const { stateDir } = this.#config;
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    await (await this.#openSource()).start();
    // A source that waits for its cluster is closed by stop(), and its start then ends as if it had come.
    if (this.#stopped) throw new Error('The controller was stopped while it started');
    const authority = await this.#openAuthority();
    this.#adminSecret = await openAdminSecret(stateDir);
    const grpc = await this.#listenGrpc(authority);
    const admin = await this.#admin.listen(this.#config.adminAddress);
    this.#stops.push(() => this.#admin.close());
    this.#cluster?.run(authority);
    this.#ready = true;
    this.#logger.info({ grpcPort: grpc, adminPort: admin, stateDir }, 'controller is ready');
    return { grpc, admin };
  }

  async #openSource(): Promise<ResourceSource> {
    const { logFormat: format, logLevel: level, source: from, stateDir } = this.#config;
    const clock = this.#clock;
    const logger = (component: string) => createLogger({ component, format, level });
    const translator = this.#openTranslator(from.kind === 'directory');
    const handler: ResourcesHandler = {
      onResources: (resources, problems) => translator.update(resources, problems),
    };
    if (from.kind === 'cluster') {
      const { Cluster: ClusterParts } = await import('./cluster.ts');
      const cluster = new ClusterParts(
        from,
        {
          clock,
          logger,
          waypoints: this.#waypoints,
          clusterId: this.#config.clusterId,
          nodes: this.#nodes,
          onLead: (leading) => this.#leadNodes(leading),
        },
        handler,
      );
      this.#cluster = cluster;
      this.#stops.push(() => cluster.close());
      return cluster.source;
    }
    const lastGoodDir = join(stateDir, 'last-good');
    // Of a directory there is one controller, and it leads.
    this.#leadNodes(true);
    const source = new DirectorySource(
      { directory: from.path, clock, logger: logger('source'), lastGoodDir },
      handler,
    );
    this.#stops.push(() => source.close());
    return source;
  }

  #openTranslator(standalone: boolean): Translator {
    const { clusterId, trustDomain, source } = this.#config;
    const own = source.kind === 'cluster' ? { ownNamespace: source.namespace } : {};
    const translator = new Translator({ clusterId, trustDomain, standalone, ...own }, this.#clock, {
      onTranslated: (translation, input, durationMs) => this.#onTranslated(translation, input, durationMs),
      // A fault of ours, not of the objects: what is in force stays, and the next change is tried again.
      onFailed: (err) =>
        this.#logger.error({ err }, 'translating the resources failed, keeping what is in force'),
    });
    this.#stops.push(() => translator.close());
    return translator;
  }

  #authenticator(): Authenticator {
    return this.#cluster === undefined ? this.#tokens : firstOf(this.#tokens, this.#cluster.authenticator);
  }

  /** Where the root is kept, and who may have given it. */
  #authoritySources(): Pick<CertificateAuthorityOptions, 'store' | 'given'> {
    if (this.#cluster !== undefined) return { store: this.#cluster.caStore, given: this.#cluster.givenCa };
    const { source } = this.#config;
    const given = source.kind === 'directory' ? source.caDirectory : undefined;
    return given === undefined ? {} : { given: new DirectoryIssuer(given) };
  }

  async #openAuthority(): Promise<CertificateAuthority> {
    const { stateDir, certificateLifeSeconds, minCertificateLifeSeconds } = this.#config;
    const { logFormat: format, logLevel: level } = this.#config;
    const authority = await CertificateAuthority.open({
      stateDir,
      ...this.#authoritySources(),
      clock: this.#clock,
      logger: createLogger({ component: 'ca', format, level }),
      defaultLifeSeconds: certificateLifeSeconds,
      minLifeSeconds: minCertificateLifeSeconds,
      maxLifeSeconds: certificateLifeSeconds,
    });
    this.#authority = authority;
    this.#stops.push(() => authority.close());
    await writeRoots(authority, stateDir);
    authority.subscribe(() => {
      writeRoots(authority, stateDir).catch((err: unknown) => {
        this.#logger.error({ err }, 'writing the root certificates failed');
      });
    });
    return authority;
  }

  async #listenGrpc(authority: CertificateAuthority): Promise<number> {
    const logger = createLogger({
      component: 'ca',
      format: this.#config.logFormat,
      level: this.#config.logLevel,
    });
    const names = this.#config.serverNames;
    const certificate = await ServerCertificate.open({
      authority,
      clock: this.#clock,
      logger,
      dnsNames: names.filter((name) => parseIpAddress(name) === undefined),
      ipAddresses: names.map((name) => parseIpAddress(name)).filter((ip) => ip !== undefined),
    });
    this.#stops.push(() => certificate.close());
    const server = new GrpcServer({ tls: serverTls(certificate.current()) });
    this.#xds.register(server);
    this.#reports.register(server);
    addCertificateService(server, {
      authority,
      authenticator: this.#authenticator(),
      pods: this.#pods,
      waypoints: this.#waypoints,
      logger,
      counter: this.#metrics.certificateRequests,
    });
    const port = await server.bind(this.#config.address);
    this.#stops.push(async () => {
      this.#xds.close();
      this.#leadNodes(false);
      this.#pods.close();
      await server.close({ clock: this.#clock, graceMs: stopGraceMs });
    });
    certificate.subscribe((pair) => server.updateTls(serverTls(pair)));
    return port;
  }

  /** Nodes report to the replica that leads; another one sends them on. */
  #leadNodes(leading: boolean): void {
    this.#nodes.lead(leading);
    if (!leading) this.#reports.endAll();
  }

  #nodesPage(): NodesPage {
    return nodesPage({
      table: this.#nodes,
      model: this.#publisher.model,
      hostNetwork: this.#cluster?.hostNetworkPods ?? [],
      leader: this.#cluster?.report().leader ?? '',
      version: version(),
      now: this.#clock.now(),
    });
  }

  async #rotate(step: RotationStep): Promise<unknown> {
    const authority = this.#authority;
    if (authority === undefined) throw new Error('The certificate authority is not open yet');
    if (step === 'start') return await authority.startRotation();
    return await authority.advanceRotation({ force: step === 'force' });
  }

  #onTranslated({ model, statuses }: Translation, input: TranslatorInput, durationMs: number): void {
    const { resources, problems } = input;
    this.#pods.update(model);
    this.#waypoints.update(model, resources);
    this.#publisher.publish(model);
    this.#nodes.prune(() => new Set([...model.pods.values()].map(({ node }) => node)));
    this.#cluster?.onTranslated({ model, statuses }, { resources, problems });
    this.#statuses = statuses;
    this.#problems = problems;
    this.#metrics.onTranslated(model, { durationMs });
    this.#metrics.onProblems(problems);
    this.#reportNew(problems, statuses);
  }

  /** Each problem and each bad status is logged once, when it appears. */
  #reportNew(problems: readonly Problem[], statuses: readonly ObjectStatus[]): void {
    const lines = new Set(problems.map(formatProblem));
    for (const object of statuses) {
      const { kind, namespace, name } = object;
      for (const { type, status, reason, message } of allConditions(object)) {
        if (!isBadCondition({ type, status })) continue;
        lines.add(
          `${kind} ${namespace === '' ? name : `${namespace}/${name}`}: ${type} ${status} (${reason}): ${message}`,
        );
      }
    }
    for (const line of lines) {
      if (!this.#reported.has(line)) this.#logger.warn({ problem: line }, 'problem with the configuration');
    }
    this.#reported = lines;
  }
}

/** The token decides who calls; a record that cannot be read is our trouble, not the caller's. */
function authenticateCaller(tokens: Authenticator): Authenticate {
  return async ({ token }) => {
    const result = await tokens.authenticate(token === undefined ? undefined : `Bearer ${token}`);
    if (result.ok) {
      const { caller } = result;
      const owner = ownerOf(caller);
      return { name: owner, node: owner, ...(caller.kind === 'node' && { nodeName: caller.node }) };
    }
    if (result.code === 'token-record-unusable') throw new Error(result.reason);
    return undefined;
  };
}

function serverTls({ privateKeyPem, chainPem }: ServerKeyPair): { key: string; certificateChain: string } {
  return { key: privateKeyPem, certificateChain: chainPem };
}

/** Replaced in one step: a node that copies it never sees half a file. */
async function writeRoots(authority: CertificateAuthority, stateDir: string): Promise<void> {
  const path = rootCertificatePath(stateDir);
  await writeFile(`${path}.new`, authority.rootsPem(), { mode: 0o644 });
  await rename(`${path}.new`, path);
}
