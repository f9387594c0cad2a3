// A waypoint's data plane with one worker on plain listeners: the same code that serves tunnels, without the tunnel on either
// side, as the other peers are measured.

import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { backendPorts, proxyPorts } from '../http-site.ts';
import type { WeftProxyConfig } from '../weft-proxy.ts';
import { canaryPercent, type HttpPeer, timeoutSeconds } from './http-peer.ts';

export function weft(nodeFlags: readonly string[]): HttpPeer {
  return {
    name: 'weft',
    title: 'Weft',
    start: (site, { routes }) => {
      const file = join(site.lab.directory, `weft-${routes}.json`);
      const config: WeftProxyConfig = {
        address: site.proxy.address.v4,
        server: site.server.address.v4,
        listeners: [
          { port: proxyPorts.http1, stable: backendPorts.stable, canary: backendPorts.canary, http2: false },
          {
            port: proxyPorts.http2,
            stable: backendPorts.stableH2,
            canary: backendPorts.canaryH2,
            http2: true,
          },
        ],
        canaryPercent,
        timeoutMs: timeoutSeconds * 1000,
        routes,
      };
      writeFileSync(file, JSON.stringify(config));
      const program = join(import.meta.dirname, '../weft-proxy.ts');
      return site.lab.spawn(site.proxy, {
        name: 'weft',
        argv: [process.execPath, ...nodeFlags, program, file],
      });
    },
  };
}
