// Port 15020: everything a proxy measures as one OpenMetrics text, under both paths that scrapers of Istio use.

import { type HttpEndpoint, openHttpEndpoint } from '../telemetry/http-endpoint.ts';
import { openMetricsContentType, openMetricsEnd } from '../telemetry/open-metrics.ts';

/** Families as OpenMetrics text without the end line; a family must not come from two sources. */
export type MetricsSource = () => string | Promise<string>;

export function openMetricsServer(
  sources: readonly MetricsSource[],
  options: { readonly address?: string; readonly port: number; readonly onError?: (error: Error) => void },
): Promise<HttpEndpoint> {
  const scrape = {
    get: async () => {
      const texts = await Promise.all(sources.map(async (source) => source()));
      return { contentType: openMetricsContentType, body: `${texts.join('')}${openMetricsEnd}` };
    },
  };
  return openHttpEndpoint({ ...options, routes: { '/metrics': scrape, '/stats/prometheus': scrape } });
}
