// Envoy with one worker thread, as a mesh would configure it as a waypoint: no access log, no statistics beyond the default.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { backendPorts, type HttpSite, proxyPorts } from '../http-site.ts';
import { canaryPercent, type HttpPeer, timeoutSeconds } from './http-peer.ts';

export function envoy(program: string): HttpPeer {
  return {
    name: 'envoy',
    title: 'Envoy',
    start: (site, { routes }) => {
      const file = join(site.lab.directory, `envoy-${routes}.json`);
      writeFileSync(file, JSON.stringify(configuration(site, routes)));
      const argv = [
        program,
        '-c',
        file,
        '--concurrency',
        '1',
        '--log-level',
        'error',
        '--disable-hot-restart',
      ];
      return site.lab.spawn(site.proxy, { name: 'envoy', argv });
    },
  };
}

function configuration(site: HttpSite, routes: number): unknown {
  const { stable, canary, stableH2, canaryH2, stableTls, canaryTls } = backendPorts;
  return {
    static_resources: {
      listeners: [
        listener(site, proxyPorts.http1, { stable: 'stable', canary: 'canary', routes }),
        listener(site, proxyPorts.http2, { stable: 'stable-h2', canary: 'canary-h2', routes }),
        listener(site, proxyPorts.tls, { stable: 'stable-tls', canary: 'canary-tls', routes, tls: true }),
      ],
      clusters: [
        cluster(site, { name: 'stable', port: stable, h2: false }),
        cluster(site, { name: 'canary', port: canary, h2: false }),
        cluster(site, { name: 'stable-h2', port: stableH2, h2: true }),
        cluster(site, { name: 'canary-h2', port: canaryH2, h2: true }),
        cluster(site, { name: 'stable-tls', port: stableTls, h2: false, tls: true }),
        cluster(site, { name: 'canary-tls', port: canaryTls, h2: false, tls: true }),
      ],
    },
  };
}

function listener(
  { proxy, tls: files }: HttpSite,
  port: number,
  { stable, canary, routes, tls }: { stable: string; canary: string; routes: number; tls?: boolean },
): unknown {
  const timeout = `${timeoutSeconds}s`;
  const others = Array.from({ length: routes }, (_, index) => ({
    match: { prefix: `/service-${index}/` },
    route: { cluster: stable, timeout },
  }));
  const exact = { name: 'x-canary', string_match: { exact: '1' } };
  const weighted = {
    clusters: [
      { name: stable, weight: 100 - canaryPercent },
      { name: canary, weight: canaryPercent },
    ],
  };
  const manager = {
    '@type':
      'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'http',
    codec_type: 'AUTO',
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: [
            ...others,
            { match: { prefix: '/', headers: [exact] }, route: { cluster: canary, timeout } },
            { match: { prefix: '/' }, route: { weighted_clusters: weighted, timeout } },
          ],
        },
      ],
    },
    http_filters: [
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
      },
    ],
  };
  return {
    name: `listener-${port}`,
    address: address(proxy.address.v4, port),
    filter_chains: [
      {
        filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }],
        ...(tls === true && { transport_socket: transportSocket('Downstream', files.server) }),
      },
    ],
  };
}

function cluster(
  { server, tls: files }: HttpSite,
  { name, port, h2, tls }: { name: string; port: number; h2: boolean; tls?: boolean },
): unknown {
  const endpoint = { endpoint: { address: address(server.address.v4, port) } };
  const protocol = h2 ? { http2_protocol_options: {} } : { http_protocol_options: {} };
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [endpoint] }] },
    ...(tls === true && {
      transport_socket: transportSocket('Upstream', files.client),
    }),
    // As meshes do: the defaults of 1,024 are no subject of this measurement.
    circuit_breakers: {
      thresholds: [{ max_connections: 65_536, max_pending_requests: 65_536, max_requests: 65_536 }],
    },
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicit_http_config: protocol,
      },
    },
  };
}

/** TLS 1.3 with the certificate of a side; the client's is asked for by the servers. */
function transportSocket(side: 'Upstream' | 'Downstream', file: string): unknown {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.${side}TlsContext`,
      common_tls_context: {
        tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
        tls_certificates: [{ certificate_chain: { filename: file }, private_key: { filename: file } }],
      },
    },
  };
}

function address(ip: string, port: number): unknown {
  return { socket_address: { address: ip, port_value: port } };
}
