// The admin pages of a proxy on loopback port 15000: what it knows and carries, and the log level. Reads from narrow
// sources; private keys never reach it. Reachable by processes of its network namespace only, and not through a browser.

import { getHeapStatistics } from 'node:v8';
import {
  type HttpEndpoint,
  type HttpReply,
  type HttpRoute,
  openHttpEndpoint,
} from '../telemetry/http-endpoint.ts';

export interface AdminSources {
  /** The object of `/config_dump`. */
  configDump(): Promise<object>;
  certificates(): Promise<readonly object[]>;
  connections(): Promise<readonly object[]>;
  logLevel(): string;
  /** False if there is no such level. */
  setLogLevel(level: string): boolean;
  resetLogLevel(): void;
  /** Starts a graceful shutdown. */
  quit(): void;
}

const pages: readonly (readonly [path: string, what: string])[] = [
  ['/config_dump', 'configuration and certificates as this proxy has them'],
  ['/certificates', 'certificates of the identities served'],
  ['/connections', 'connections open now'],
  ['/logging', 'log level; POST ?level=debug changes it, POST ?reset sets it back'],
  ['/quitquitquit', 'POST: drain and exit'],
  ['/debug/memory', 'memory of the process and the main heap'],
];

/** Listens on 127.0.0.1; other addresses are not offered. */
export function openAdminServer(
  sources: AdminSources,
  options: {
    /** Of the index page. */
    readonly title: string;
    readonly port: number;
    readonly onError?: (error: Error) => void;
  },
): Promise<HttpEndpoint> {
  const { title, ...listen } = options;
  return openHttpEndpoint({
    ...listen,
    address: '127.0.0.1',
    allowedHosts: ['localhost', '127.0.0.1', '[::1]'],
    routes: adminRoutes(sources, title),
  });
}

function adminRoutes(sources: AdminSources, title: string): Readonly<Record<string, HttpRoute>> {
  return {
    '/': { get: () => ({ contentType: 'text/html; charset=utf-8', body: index(title) }) },
    '/config_dump': { get: async () => json(await sources.configDump()) },
    '/certificates': { get: async () => json(await sources.certificates()) },
    '/connections': { get: async () => json(await sources.connections()) },
    '/logging': {
      get: () => ({ body: `current log level is ${sources.logLevel()}\n` }),
      post: ({ params }) => changeLogLevel(params, sources),
    },
    '/quitquitquit': {
      post: () => {
        sources.quit();
        return { body: 'shutdown now\n' };
      },
    },
    '/debug/memory': {
      get: () => json({ process: process.memoryUsage(), mainHeap: getHeapStatistics() }),
    },
  };
}

function changeLogLevel(params: URLSearchParams, sources: AdminSources): HttpReply {
  const level = params.get('level');
  if (params.has('reset')) sources.resetLogLevel();
  else if (level !== null && !sources.setLogLevel(level)) {
    return {
      status: 400,
      body: `Unknown log level ${JSON.stringify(level)}: use trace, debug, info, warn or error\n`,
    };
  }
  return { body: `current log level is ${sources.logLevel()}\n` };
}

function json(value: object): HttpReply {
  return { contentType: 'application/json', body: `${JSON.stringify(value, undefined, 2)}\n` };
}

function index(title: string): string {
  const rows = pages.map(([path, what]) => `<li><a href="${path}">${path}</a> ${what}</li>`).join('\n');
  return `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>${title}</title></head>\n<body><h1>${title}</h1>\n<ul>\n${rows}\n</ul></body></html>\n`;
}
