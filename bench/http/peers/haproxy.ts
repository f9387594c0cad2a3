// HAProxy in HTTP mode with one thread, connections to the servers reused.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { backendPorts, type HttpSite, proxyPorts } from '../http-site.ts';
import { canaryPercent, type HttpPeer, timeoutSeconds } from './http-peer.ts';

export const haproxy: HttpPeer = {
  name: 'haproxy',
  title: 'HAProxy',
  start: (site, { routes }) => {
    const file = join(site.lab.directory, `haproxy-${routes}.cfg`);
    writeFileSync(file, configuration(site, routes));
    return site.lab.spawn(site.proxy, { name: 'haproxy', argv: ['haproxy', '-db', '-q', '-f', file] });
  },
};

function configuration(site: HttpSite, routes: number): string {
  const { stable, canary, stableH2, canaryH2 } = backendPorts;
  return `global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server ${timeoutSeconds}s
  http-reuse always
${side(site, { name: 'h1', listen: proxyPorts.http1, stable, canary, proto: '', routes })}
${side(site, { name: 'h2', listen: proxyPorts.http2, stable: stableH2, canary: canaryH2, proto: ' proto h2', routes })}
`;
}

function side(
  { proxy, server }: HttpSite,
  options: { name: string; listen: number; stable: number; canary: number; proto: string; routes: number },
): string {
  const { name, listen, stable, canary, proto, routes } = options;
  const others = Array.from(
    { length: routes },
    (_, index) => `  use_backend ${name}-stable if { path_beg /service-${index}/ }`,
  );
  return `frontend ${name}
  bind ${proxy.address.v4}:${listen}${proto}
${others.join('\n')}
  use_backend ${name}-canary if { req.hdr(x-canary) 1 }
  use_backend ${name}-canary if { rand(100) lt ${canaryPercent} }
  default_backend ${name}-stable
backend ${name}-stable
  server s ${server.address.v4}:${stable}${proto}
backend ${name}-canary
  server s ${server.address.v4}:${canary}${proto}`;
}
