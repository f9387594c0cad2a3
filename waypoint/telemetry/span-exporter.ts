// Sends spans to the collector that MeshConfig names, from the main thread, by OTLP over HTTP in JSON: one POST at a time,
// a bounded queue, what the collector does not take is counted and lost. OpenTelemetry's own exporter is not used: it brings
// some 5 MB of packages for one request body.

import type { TracingConfig } from '../../mesh/model/mesh-config.ts';
import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import { formatSpans, type SpanResource } from './otlp.ts';
import type { Span } from './span.ts';

export interface SpanExporterOptions {
  readonly resource: SpanResource;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default the global one. */
  readonly fetch?: typeof fetch;
  readonly onExported?: (count: number) => void;
  readonly onDropped?: (count: number) => void;
}

const maxQueued = 8_192;
const maxBatch = 512;
/** Spans wait this long for more of them, ms. */
const batchDelayMs = 1_000;
const exportTimeoutMs = 10_000;
/** After a failure, ms. */
const pauseMs = 5_000;

export class SpanExporter {
  readonly #options: SpanExporterOptions;
  #url: string | undefined;
  #queue: Span[] = [];
  #timer: Timer | undefined;
  #exporting = false;
  #failing = false;
  #closed = false;
  readonly #abort = new AbortController();

  constructor(options: SpanExporterOptions) {
    this.#options = options;
  }

  /** Spans that wait go to the new place. */
  configure(tracing: TracingConfig | undefined): void {
    this.#url = tracing === undefined ? undefined : `${tracing.endpoint.replace(/\/+$/, '')}/v1/traces`;
    if (this.#url === undefined) this.#drop(this.#queue.splice(0).length);
  }

  add(spans: readonly Span[]): void {
    if (this.#url === undefined || this.#closed) return this.#drop(spans.length);
    const room = maxQueued - this.#queue.length;
    for (const span of spans.slice(0, room)) this.#queue.push(span);
    this.#drop(spans.length - room);
    this.#schedule(this.#failing ? pauseMs : batchDelayMs);
  }

  /** Exports what waits, once, and takes no more. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    if (!this.#exporting && !this.#failing) await this.#export();
    this.#abort.abort();
    this.#drop(this.#queue.splice(0).length);
  }

  #schedule(delayMs: number): void {
    if (this.#timer !== undefined || this.#exporting || this.#closed || this.#queue.length === 0) return;
    this.#timer = this.#options.clock.after(delayMs, () => {
      this.#timer = undefined;
      void this.#export();
    });
  }

  async #export(): Promise<void> {
    const url = this.#url;
    const batch = this.#queue.splice(0, maxBatch);
    if (url === undefined || batch.length === 0) return this.#drop(batch.length);
    this.#exporting = true;
    try {
      await this.#send(url, batch);
      this.#failing = false;
      this.#options.onExported?.(batch.length);
    } catch (error) {
      this.#drop(batch.length);
      if (!this.#failing)
        this.#options.logger.warn({ err: error, url }, 'exporting spans fails; they are lost');
      this.#failing = true;
    } finally {
      this.#exporting = false;
    }
    this.#schedule(this.#failing ? pauseMs : this.#queue.length >= maxBatch ? 0 : batchDelayMs);
  }

  async #send(url: string, batch: readonly Span[]): Promise<void> {
    const timeout = new AbortController();
    const timer = this.#options.clock.after(exportTimeoutMs, () => timeout.abort());
    try {
      const response = await (this.#options.fetch ?? fetch)(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: formatSpans(batch, this.#options.resource),
        // A collector that sends spans elsewhere is a wrong setting, not a place to follow.
        redirect: 'error',
        signal: AbortSignal.any([timeout.signal, this.#abort.signal]),
      });
      await response.body?.cancel();
      if (!response.ok) throw new Error(`The collector answered ${response.status}`);
    } finally {
      timer.cancel();
    }
  }

  #drop(count: number): void {
    if (count > 0) this.#options.onDropped?.(count);
  }
}
