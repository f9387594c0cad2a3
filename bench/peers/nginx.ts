// nginx's stream module as a mutual TLS pair. Tuned as its users would: 64 KB buffers instead of 16 KB (bulk), sessions
// resumed (its default), no access log, accept as fast as connections come.

import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BenchError } from '../bench-error.ts';
import { descriptorLimit, type Peer } from './peer.ts';
import { type PairSettings, startPair } from './proxy-pair.ts';

export const nginx: Peer = {
  name: 'nginx',
  place: 'far',
  title: 'nginx stream, mTLS',
  descriptorsPerConnection: 2,
  settleMs: 1_000,
  start: (site) => startPair({ name: 'nginx', command }, site),
};

function command(side: 'client' | 'server', settings: PairSettings): readonly string[] {
  const file = join(settings.directory, `nginx-${side}.conf`);
  writeFileSync(file, configuration(side, settings));
  return ['nginx', '-e', 'stderr', '-p', settings.directory, '-c', file];
}

function configuration(side: 'client' | 'server', { directory, tls, forwards }: PairSettings): string {
  const security = {
    client: `
    proxy_ssl on;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_certificate ${tls.client};
    proxy_ssl_certificate_key ${tls.client};
    proxy_ssl_trusted_certificate ${tls.root};
    proxy_ssl_name ${tls.serverName};
    proxy_ssl_verify on;`,
    server: `
    ssl_protocols TLSv1.3;
    ssl_certificate ${tls.server};
    ssl_certificate_key ${tls.server};
    ssl_client_certificate ${tls.root};
    ssl_verify_client on;`,
  }[side];
  const servers = forwards.map(
    ({ listen, to }) => `
    server {
        listen ${listen}${side === 'server' ? ' ssl' : ''} backlog=4096;
        proxy_pass ${to};
    }`,
  );
  return `load_module ${streamModule()};
daemon off;
user root;
worker_processes 1;
pid ${directory}/nginx-${side}.pid;
error_log stderr error;
events {
    worker_connections ${descriptorLimit()};
    multi_accept on;
}
stream {
    tcp_nodelay on;
    proxy_buffer_size 64k;
    proxy_connect_timeout 10s;
    proxy_timeout 1h;${security}
${servers.join('\n')}
}
`;
}

/** Where Debian and Ubuntu, or distributions with lib64, put it. */
function streamModule(): string {
  const name = 'nginx/modules/ngx_stream_module.so';
  const roots = [
    '/usr/lib',
    '/usr/lib64',
    ...readdirSync('/usr/lib').map((entry) => join('/usr/lib', entry)),
  ];
  const found = roots.map((root) => join(root, name)).find((path) => existsSync(path));
  if (found === undefined)
    throw new BenchError('peer', 'Found no stream module of nginx; install libnginx-mod-stream');
  return found;
}
