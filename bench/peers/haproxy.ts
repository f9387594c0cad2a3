// HAProxy in TCP mode as a mutual TLS pair: one thread, 64 KB buffers instead of 16 KB (bulk), sessions resumed (its
// default).

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { descriptorLimit, type Peer } from './peer.ts';
import { type Forward, type PairSettings, startPair } from './proxy-pair.ts';

export const haproxy: Peer = {
  name: 'haproxy',
  place: 'far',
  title: 'HAProxy, mTLS',
  descriptorsPerConnection: 2,
  settleMs: 1_000,
  start: (site) => startPair({ name: 'haproxy', command }, site),
};

function command(side: 'client' | 'server', settings: PairSettings): readonly string[] {
  const file = join(settings.directory, `haproxy-${side}.cfg`);
  writeFileSync(file, configuration(side, settings));
  return ['haproxy', '-db', '-f', file];
}

function configuration(side: 'client' | 'server', { tls, forwards }: PairSettings): string {
  const accept = side === 'server' ? ` ssl crt ${tls.server} ca-file ${tls.root} verify required` : '';
  const dial =
    side === 'client'
      ? ` ssl crt ${tls.client} ca-file ${tls.root} verify required verifyhost ${tls.serverName} sni str(${tls.serverName})`
      : '';
  // Two descriptors each, and some for itself: it refuses to start with more than its limit allows.
  const maxConnections = Math.floor((descriptorLimit() - 200) / 2);
  const proxy = ({ name, listen, to }: Forward): string => `
listen ${name}
    bind ${listen} backlog 4096${accept}
    server next ${to}${dial}
`;
  return `global
    nbthread 1
    maxconn ${maxConnections}
    tune.bufsize 65536
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-server-options ssl-min-ver TLSv1.3
defaults
    mode tcp
    maxconn ${maxConnections}
    timeout connect 10s
    timeout client 1h
    timeout server 1h
${forwards.map(proxy).join('')}`;
}
