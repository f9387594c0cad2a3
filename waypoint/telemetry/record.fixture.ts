// Records of a request and of a connection with every field set, for tests of what is made from them.

import { ip, makeService, makeWorkload } from '../../mesh/model/fixture.ts';
import { formatSpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { ClientConnection } from '../data/client-connection.ts';
import type { ConnectionRecord, RequestRecord } from '../data/request-record.ts';

const peer = { trustDomain: 'td', namespace: 'shop', serviceAccount: 'web' };
export const apiService = makeService('shop', 'api.shop.svc.cluster.local', { name: 'api' });
export const canaryService = makeService('shop', 'canary.shop.svc.cluster.local', { name: 'canary' });
const client = makeWorkload('client', {
  name: 'web-1',
  namespace: 'shop',
  workloadName: 'web',
  canonicalName: 'web',
  canonicalRevision: 'v1',
});
export const endpoint = makeWorkload('endpoint', {
  name: 'canary-1',
  namespace: 'shop',
  workloadName: 'canary',
  canonicalName: 'canary',
  trustDomain: 'td',
  serviceAccount: 'canary',
  tunnelProtocol: 'hbone',
});

export const clientConnection: ClientConnection = {
  listener: 'hbone',
  address: ip('10.1.0.1'),
  port: 40_000,
  peer,
  spiffeId: formatSpiffeId(peer),
  workload: client,
  namespace: 'shop',
  authority: '10.96.0.1:80',
  service: apiService,
  target: undefined,
  servicePort: 80,
  destination: ip('10.96.0.1'),
};

const end = {
  route: { kind: 'HTTPRoute', namespace: 'shop', name: 'api', rule: '0' },
  backend: canaryService,
  backendPort: 8080,
  endpoint,
  endpointAddress: ip('10.1.0.2'),
  endpointPort: 8080,
  attempts: 1,
  durationMs: 7.4,
  flag: '',
  details: '',
  audits: [],
} as const;

export function makeRequestRecord(fields: Partial<RequestRecord> = {}): RequestRecord {
  return {
    ...end,
    connection: clientConnection,
    version: '1.1',
    startedAt: Date.parse('2026-01-02T03:04:05.678Z'),
    startedMs: 0,
    request: {
      method: 'GET',
      scheme: 'http',
      authority: 'api.shop',
      path: '/items?page=2',
      upgrade: undefined,
      headers: [
        ['user-agent', 'curl/8 "quoted"'],
        ['x-forwarded-for', '10.1.0.1'],
      ],
    },
    requestId: 'f00',
    grpc: false,
    service: apiService,
    requestPrincipal: '',
    status: 200,
    grpcStatus: undefined,
    requestBytes: 11,
    responseBytes: 2_222,
    requestMessages: 0,
    responseMessages: 0,
    responseMs: 5,
    trace: undefined,
    ...fields,
  };
}

export function makeConnectionRecord(fields: Partial<ConnectionRecord> = {}): ConnectionRecord {
  return {
    ...end,
    connection: clientConnection,
    startedAt: Date.parse('2026-01-02T03:04:05.678Z'),
    sni: undefined,
    receivedBytes: 80,
    sentBytes: 144,
    ...fields,
  };
}
