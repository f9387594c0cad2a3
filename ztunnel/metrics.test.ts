import { describe, expect, it } from 'vitest';
import { makeService, makeWorkload } from '../mesh/model/fixture.ts';
import { formatSpiffeId } from '../mesh/model/spiffe-id.ts';
import { makeConnectionInfo } from './connection-info.fixture.ts';
import { ConnectionMetrics, renderMetrics } from './metrics.ts';

const client = makeWorkload('client', { workloadName: 'web', canonicalName: 'web', canonicalRevision: 'v1' });
const info = (fields = {}) =>
  makeConnectionInfo({
    sourceWorkload: client,
    sourceIdentity: formatSpiffeId({ trustDomain: 'td', namespace: 'shop', serviceAccount: 'web' }),
    destinationService: makeService('shop', 'api.shop.svc.cluster.local', { name: 'api' }),
    mutualTls: true,
    ...fields,
  });
const end = (flag: '-' | 'DENY' = '-') => ({ received: 80, sent: 144, flag });

function lines(metrics: ConnectionMetrics, name: string): string[] {
  return renderMetrics(metrics.snapshot())
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`));
}

/** `a="1",b="2"` to an object. */
function labels(line: string): Record<string, string> {
  return Object.fromEntries(
    [...line.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]),
  );
}

describe('ConnectionMetrics', () => {
  it('has exactly the labels of Istio, with unknown for what is missing', () => {
    const metrics = new ConnectionMetrics();
    metrics.opened(info());
    const [line] = lines(metrics, 'istio_tcp_connections_opened_total');
    expect(labels(line as string)).toEqual({
      reporter: 'source',
      source_workload: 'web',
      source_canonical_service: 'web',
      source_canonical_revision: 'v1',
      source_workload_namespace: 'shop',
      source_principal: 'spiffe://td/ns/shop/sa/web',
      source_app: 'web',
      source_version: 'v1',
      source_cluster: 'Kubernetes',
      source_region: 'unknown',
      source_zone: 'unknown',
      destination_workload: 'unknown',
      destination_canonical_service: 'unknown',
      destination_canonical_revision: 'unknown',
      destination_workload_namespace: 'unknown',
      destination_principal: 'unknown',
      destination_app: 'unknown',
      destination_version: 'unknown',
      destination_cluster: 'unknown',
      destination_region: 'unknown',
      destination_zone: 'unknown',
      destination_service: 'api.shop.svc.cluster.local',
      destination_service_namespace: 'shop',
      destination_service_name: 'api',
      request_protocol: 'tcp',
      response_flags: '-',
      connection_security_policy: 'mutual_tls',
    });
  });

  it('counts one series for equal labels: opens, bytes without flags, closes by flag', () => {
    const metrics = new ConnectionMetrics();
    const [first, second] = [info(), info({ sourcePort: 2 })];
    for (const one of [first, second]) metrics.opened(one);
    metrics.closed(first, end());
    metrics.closed(first, end());
    metrics.closed(second, end('DENY'));
    const value = (name: string) => lines(metrics, name).map((line) => Number(line.split(' ').at(-1)));
    expect(value('istio_tcp_connections_opened_total')).toEqual([2]);
    expect(value('istio_tcp_received_bytes_total')).toEqual([160]);
    expect(value('istio_tcp_sent_bytes_total')).toEqual([288]);
    expect(value('istio_tcp_connections_closed_total')).toEqual([1, 1]);
    expect(lines(metrics, 'istio_tcp_connections_closed_total')[1]).toContain('response_flags="DENY"');
    expect(metrics.snapshot().socketsOpen).toEqual({ source: 0, destination: 0 });
  });

  it('closes under the labels it was opened with, though more became known', () => {
    const metrics = new ConnectionMetrics();
    const one = info();
    metrics.opened(one);
    one.destinationWorkload = client;
    metrics.closed(one, end());
    expect(metrics.snapshot().series).toHaveLength(1);
  });

  it('counts failures apart and needs no open for them', () => {
    const metrics = new ConnectionMetrics();
    metrics.failed(info(), 'CONNECT');
    metrics.closed(info(), end());
    expect(lines(metrics, 'istio_tcp_connections_failed_total')).toHaveLength(1);
    expect(lines(metrics, 'istio_tcp_connections_opened_total')).toEqual([]);
  });

  it('keeps a bounded number of series and counts the rest in one', () => {
    const metrics = new ConnectionMetrics({ maxSeries: 3 });
    for (let i = 0; i < 50; i++)
      metrics.opened(info({ destinationServiceName: `h${i}`, destinationService: undefined }));
    const { series, overflowed } = metrics.snapshot();
    expect(series).toHaveLength(4);
    expect(overflowed).toBe(47);
    expect(series[3]?.opened).toBe(47);
    expect(Object.keys(labels(series[3]?.labels as string)).sort()).toEqual(
      Object.keys(labels(series[0]?.labels as string)).sort(),
    );
  });

  it('escapes label values and takes the labels of an unknown peer from its baggage', () => {
    const metrics = new ConnectionMetrics();
    const sourceLabels = {
      cluster: 'c',
      namespace: 'n',
      workload: 'w"\n',
      workloadType: 'pod',
      service: 's',
      revision: 'r',
    };
    metrics.opened(info({ direction: 'inbound', sourceWorkload: undefined, sourceLabels }));
    expect(lines(metrics, 'istio_tcp_connections_opened_total')[0]).toContain('source_workload="w\\"\\n"');
  });

  it('merges the snapshots of several workers', () => {
    const [a, b] = [new ConnectionMetrics(), new ConnectionMetrics()];
    a.opened(info());
    b.opened(info());
    b.opened(info({ direction: 'inbound' }));
    const merged = ConnectionMetrics.merge([a, b].map((one) => structuredClone(one.snapshot())));
    expect(merged.series.map(({ opened }) => opened)).toEqual([2, 1]);
    expect(merged.socketsOpen).toEqual({ source: 2, destination: 1 });
  });
});
