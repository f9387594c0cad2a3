// Where HTTP proxies are measured: a client pod, a proxy pod and a server pod on one node, the same for every peer. The
// server pod runs two HTTP/1.1 servers (stable and canary) and two HTTP/2 ones; the proxy under test is given its routes.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeSettings } from '../../e2e/lab/command.ts';
import type { Lab, LabHost } from '../../e2e/lab/lab.ts';
import type { LabProcess } from '../../e2e/lab/lab-process.ts';
import { type MutualTlsFiles, writeMutualTlsFiles } from '../peers/mutual-tls-files.ts';

/** What the server pod serves. */
export const backendPorts = {
  stable: 7001,
  canary: 7002,
  stableH2: 7003,
  canaryH2: 7004,
  stableTls: 7005,
  canaryTls: 7006,
} as const;
/** Where a proxy listens: HTTP/1.1 to the first pair, HTTP/2 without TLS to the second, HTTP/1.1 in TLS to the third. */
export const proxyPorts = { http1: 8001, http2: 8002, tls: 8003 } as const;

export const largeBytes = 1024 * 1024;
const settings = { 'net/ipv4/ip_local_port_range': '16384 65535', 'net/ipv4/tcp_tw_reuse': '1' };

export interface HttpSite {
  readonly lab: Lab;
  readonly client: LabHost;
  readonly proxy: LabHost;
  readonly server: LabHost;
  readonly tls: MutualTlsFiles;
}

/** The caller closes `lab`, also when this throws. */
export async function buildHttpSite(lab: Lab): Promise<HttpSite> {
  const node = lab.addNode('node-1');
  const client = lab.addPod(node, { name: 'client', podNamespace: 'bench' });
  const proxy = lab.addPod(node, { name: 'proxy', podNamespace: 'bench' });
  const server = lab.addPod(node, { name: 'server', podNamespace: 'bench' });
  for (const host of [node, client, proxy, server]) writeSettings(host.namespace, settings);
  const root = join(lab.directory, 'htdocs');
  mkdirSync(root);
  writeFileSync(join(root, 'index.html'), 'hello world\n');
  writeFileSync(join(root, 'large'), Buffer.alloc(largeBytes, 'x'));
  const tls = await writeMutualTlsFiles(lab.directory);
  startNginx(lab, server, { root, tls });
  for (const port of [backendPorts.stableH2, backendPorts.canaryH2]) {
    const argv = ['nghttpd', '--no-tls', '-a', server.address.v4, '-d', root, `${port}`];
    lab.spawn(server, { name: `nghttpd-${port}`, argv });
  }
  return { lab, client, proxy, server, tls };
}

function startNginx(
  lab: Lab,
  server: LabHost,
  { root, tls }: { root: string; tls: MutualTlsFiles },
): LabProcess {
  const file = join(lab.directory, 'backend.conf');
  const servers = [backendPorts.stable, backendPorts.canary].map(
    (port) => `server { listen ${server.address.v4}:${port} backlog=4096; root ${root}; }`,
  );
  const { stableTls, canaryTls } = backendPorts;
  servers.push(
    ...[stableTls, canaryTls].map(
      (port) =>
        `server { listen ${server.address.v4}:${port} ssl backlog=4096; root ${root}; ssl_protocols TLSv1.3; ssl_certificate ${tls.server}; ssl_certificate_key ${tls.server}; ssl_client_certificate ${tls.root}; ssl_verify_client on; }`,
    ),
  );
  const text = `daemon off; user root; worker_processes 1; pid ${lab.directory}/backend.pid; error_log stderr error;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; open_file_cache max=100; sendfile on; tcp_nopush on;
${servers.join('\n')} }
`;
  writeFileSync(file, text);
  return lab.spawn(server, {
    name: 'backend',
    argv: ['nginx', '-e', 'stderr', '-p', lab.directory, '-c', file],
  });
}
