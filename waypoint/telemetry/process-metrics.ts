// What the main thread of a waypoint counts beside what every proxy does: keys of token issuers, and exported spans. The
// series of requests and connections are the data workers' (waypoint-metrics.ts).

import { ProxyMetrics } from '../../mesh/proxy/proxy-metrics.ts';

export class ProcessMetrics extends ProxyMetrics {
  readonly #jwks = this.counter('weft_jwks_fetches', 'Fetches of the keys of token issuers', ['result']);
  readonly #exported = this.counter('weft_trace_spans_exported', 'Spans the collector took', []);
  readonly #dropped = this.counter('weft_trace_spans_dropped', 'Spans that were lost', []);

  constructor({ version }: { readonly version: string }) {
    super({ component: 'waypoint', version });
  }

  jwksFetched(ok: boolean): void {
    this.#jwks.inc({ result: ok ? 'ok' : 'failed' });
  }

  spansExported(count: number): void {
    this.#exported.inc(count);
  }

  spansDropped(count: number): void {
    this.#dropped.inc(count);
  }
}
