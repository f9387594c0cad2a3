// The controller's own metrics, in one registry of its own. Names start with weft_controller_.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Model } from '../mesh/model/model.ts';
import type { ClusterReport } from './cluster-report.ts';
import type { Problem } from './source/problem.ts';

/** What is read at each scrape. */
export interface MetricSources {
  connectedNodes(): number;
  /** Nodes whose report is not older than half a minute; of the replica that leads. */
  reportingNodes(): number;
  /** Pods of the mesh by the state of their capture. */
  captures(): ReadonlyMap<string, number>;
  /** Undefined where resources come from a directory. */
  cluster(): ClusterReport | undefined;
  xdsCounters(): { readonly responses: number; readonly resources: number; readonly nacks: number };
}

export class ControllerMetrics {
  readonly registry = new Registry();
  readonly certificateRequests: Counter<'result'>;
  readonly #model: Gauge<'kind'>;
  readonly #problems: Gauge<'severity'>;
  readonly #translations: Histogram;

  constructor(sources: MetricSources) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.certificateRequests = new Counter({
      name: 'weft_controller_certificate_requests_total',
      help: 'Requests for workload certificates by result',
      labelNames: ['result'],
      registers,
    });
    this.#model = new Gauge({
      name: 'weft_controller_model_objects',
      help: 'Objects of the current model by kind',
      labelNames: ['kind'],
      registers,
    });
    this.#problems = new Gauge({
      name: 'weft_controller_source_problems',
      help: 'Problems of the current manifests by severity',
      labelNames: ['severity'],
      registers,
    });
    this.#translations = new Histogram({
      name: 'weft_controller_translate_duration_seconds',
      help: 'Time to compile the resources to the model',
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2],
      registers,
    });
    scrapedGauge(registers, {
      name: 'weft_controller_connected_nodes',
      help: 'Open configuration streams',
      read: () => sources.connectedNodes(),
    });
    addCaptureMetrics(registers, sources);
    scrapedCounter(registers, {
      name: 'weft_controller_xds_responses_total',
      help: 'Configuration responses sent to nodes',
      read: () => sources.xdsCounters().responses,
    });
    scrapedCounter(registers, {
      name: 'weft_controller_xds_resources_total',
      help: 'Configuration resources sent to nodes',
      read: () => sources.xdsCounters().resources,
    });
    scrapedCounter(registers, {
      name: 'weft_controller_xds_nacks_total',
      help: 'Configuration responses that a node refused in part',
      read: () => sources.xdsCounters().nacks,
    });
    addClusterMetrics(registers, () => sources.cluster());
  }

  /** @param options.durationMs how long the translation took */
  onTranslated(model: Model, { durationMs }: { readonly durationMs: number }): void {
    this.#translations.observe(durationMs / 1000);
    for (const kind of ['workloads', 'services', 'policies', 'pods'] as const) {
      this.#model.set({ kind }, model[kind].size);
    }
  }

  onProblems(problems: readonly Problem[]): void {
    for (const severity of ['error', 'warning'] as const) {
      this.#problems.set({ severity }, problems.filter((problem) => problem.severity === severity).length);
    }
  }
}

/** Only the replica that leads is told. */
function addCaptureMetrics(registers: Registry[], sources: MetricSources): void {
  scrapedGauge(registers, {
    name: 'weft_controller_reporting_nodes',
    help: 'Nodes that report the capture of their pods',
    read: () => sources.reportingNodes(),
  });
  new Gauge({
    name: 'weft_controller_capture_pods',
    help: 'Pods of the mesh by the state of their capture, as their nodes report it',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset();
      for (const [state, count] of sources.captures()) this.set({ state }, count);
    },
  });
}

/** Without a cluster they are there and have no values. */
function addClusterMetrics(registers: Registry[], read: () => ClusterReport | undefined): void {
  new Gauge({
    name: 'weft_controller_leading',
    help: 'Whether this replica leads: writes statuses and events, keeps up waypoints',
    registers,
    collect() {
      this.set(read()?.leading === true ? 1 : 0);
    },
  });
  new Counter({
    name: 'weft_controller_status_writes_total',
    help: 'Statuses written to the API server by result',
    labelNames: ['result'],
    registers,
    collect() {
      const statuses = read()?.statuses;
      this.reset();
      if (statuses === undefined) return;
      this.inc({ result: 'written' }, statuses.written);
      this.inc({ result: 'failed' }, statuses.failed);
    },
  });
  new Gauge({
    name: 'weft_controller_watched_objects',
    help: 'Objects known of the API server by kind',
    labelNames: ['kind'],
    registers,
    collect() {
      this.reset();
      for (const { kind, objects } of read()?.watches ?? []) this.set({ kind }, objects);
    },
  });
  new Gauge({
    name: 'weft_controller_watch_failing',
    help: 'Whether the watch of a kind does not work at the moment',
    labelNames: ['kind'],
    registers,
    collect() {
      this.reset();
      for (const { kind, failure } of read()?.watches ?? [])
        this.set({ kind }, failure === undefined ? 0 : 1);
    },
  });
}

interface Scraped {
  readonly name: string;
  readonly help: string;
  readonly read: () => number;
}

function scrapedGauge(registers: Registry[], { name, help, read }: Scraped): void {
  new Gauge({
    name,
    help,
    registers,
    collect() {
      this.set(read());
    },
  });
}

function scrapedCounter(registers: Registry[], { name, help, read }: Scraped): void {
  new Counter({
    name,
    help,
    registers,
    collect() {
      this.reset();
      this.inc(read());
    },
  });
}
