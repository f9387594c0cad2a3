// nginx as a reverse proxy with one worker, connections to the servers kept alive. It speaks HTTP/1.1 to servers only, so it
// takes no part where they speak HTTP/2.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { backendPorts, type HttpSite, proxyPorts } from '../http-site.ts';
import { canaryPercent, type HttpPeer, timeoutSeconds } from './http-peer.ts';

export const nginx: HttpPeer = {
  name: 'nginx',
  title: 'nginx',
  start: (site, { routes }) => {
    const file = join(site.lab.directory, `nginx-${routes}.conf`);
    writeFileSync(file, configuration(site, routes));
    const argv = ['nginx', '-e', 'stderr', '-p', site.lab.directory, '-c', file];
    return site.lab.spawn(site.proxy, { name: 'nginx', argv });
  },
};

function configuration({ lab, proxy, server }: HttpSite, routes: number): string {
  const upstream = (name: string, port: number): string =>
    `upstream ${name} { server ${server.address.v4}:${port}; keepalive 256; keepalive_requests 1000000000; }`;
  const pass = 'proxy_http_version 1.1; proxy_set_header Connection "";';
  const others = Array.from(
    { length: routes },
    (_, index) => `location /service-${index}/ { ${pass} proxy_pass http://stable; }`,
  );
  return `daemon off; user root; worker_processes 1; pid ${lab.directory}/nginx-proxy.pid; error_log stderr error;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; proxy_read_timeout ${timeoutSeconds}s;
${upstream('stable', backendPorts.stable)}
${upstream('canary', backendPorts.canary)}
split_clients "$request_id" $split { ${canaryPercent}% canary; * stable; }
map $http_x_canary $pool { "1" canary; default $split; }
server { listen ${proxy.address.v4}:${proxyPorts.http1} backlog=4096;
${others.join('\n')}
location / { ${pass} proxy_pass http://$pool; } } }
`;
}
