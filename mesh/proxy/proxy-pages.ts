// The three HTTP ports of a proxy: admin on loopback, metrics and readiness on every address. Only puts together what
// others know; owns the listeners.

import { isLogLevel, type Logger, logLevel, setLogLevel } from '../runtime/logger.ts';
import type { HttpEndpoint } from '../telemetry/http-endpoint.ts';
import { type AdminSources, openAdminServer } from './admin-pages.ts';
import { type MetricsSource, openMetricsServer } from './metrics-server.ts';
import { openReadinessServer, type Readiness } from './readiness.ts';

export interface ProxyPagesOptions {
  /** Of the admin page's index. */
  readonly title: string;
  readonly ports: {
    readonly 'admin-port': number;
    readonly 'metrics-port': number;
    readonly 'readiness-port': number;
  };
  readonly admin: Pick<AdminSources, 'configDump' | 'certificates' | 'connections' | 'quit'>;
  readonly metrics: readonly MetricsSource[];
  readonly readiness: Readiness;
  readonly logger: Logger;
}

/** Where they listen; a port that was 0 is the one that was taken. */
export interface ProxyPages {
  readonly adminPort: number;
  readonly metricsPort: number;
  readonly readinessPort: number;
  close(): Promise<void>;
}

/** Binds all three ports, or none. @throws when one is taken */
export async function openProxyPages(options: ProxyPagesOptions): Promise<ProxyPages> {
  const { title, ports, logger, metrics, readiness } = options;
  const onError = (error: Error): void => logger.warn({ err: error }, 'a page failed');
  const endpoints: HttpEndpoint[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(endpoints.splice(0).map((endpoint) => endpoint.close()));
  };
  try {
    const admin = await openAdminServer(
      { ...options.admin, ...logLevels() },
      { title, port: ports['admin-port'], onError },
    );
    endpoints.push(admin);
    // For scrapers and probes outside the network namespace: on every address.
    const scrapes = await openMetricsServer(metrics, { port: ports['metrics-port'], onError });
    endpoints.push(scrapes);
    const probes = await openReadinessServer(readiness, { port: ports['readiness-port'], onError });
    endpoints.push(probes);
    return { adminPort: admin.port, metricsPort: scrapes.port, readinessPort: probes.port, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function logLevels(): Pick<AdminSources, 'logLevel' | 'setLogLevel' | 'resetLogLevel'> {
  const initialLevel = logLevel();
  return {
    logLevel,
    setLogLevel: (level) => {
      if (!isLogLevel(level)) return false;
      setLogLevel(level);
      return true;
    },
    resetLogLevel: () => setLogLevel(initialLevel),
  };
}
