import { describe, expect, it } from 'vitest';
import { makeConnectionRecord, makeRequestRecord } from './record.fixture.ts';
import { renderMetrics } from './render-metrics.ts';
import { WaypointMetrics } from './waypoint-metrics.ts';
import { noLoad } from '../worker-load.ts';

const load = { ...noLoad, connections: 3, requests: 1 };

function lines(metrics: WaypointMetrics, name: string): string[] {
  return renderMetrics(metrics.snapshot(), load)
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
}

/** `a="1",b="2"` to an object. */
function labels(line: string | undefined): Record<string, string> {
  return Object.fromEntries(
    [...(line ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]),
  );
}

const value = (line: string | undefined): number => Number(line?.split(' ').at(-1));

describe('WaypointMetrics', () => {
  it('has exactly the labels of Istio on requests, with the service that answered', () => {
    const metrics = new WaypointMetrics();
    metrics.request(makeRequestRecord());
    const [line] = lines(metrics, 'istio_requests_total');
    expect(value(line)).toBe(1);
    expect(labels(line)).toEqual({
      reporter: 'waypoint',
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
      destination_workload: 'canary',
      destination_canonical_service: 'canary',
      destination_canonical_revision: 'latest',
      destination_workload_namespace: 'shop',
      destination_principal: 'spiffe://td/ns/shop/sa/canary',
      destination_app: 'canary',
      destination_version: 'latest',
      destination_cluster: 'Kubernetes',
      destination_region: 'unknown',
      destination_zone: 'unknown',
      destination_service: 'canary.shop.svc.cluster.local',
      destination_service_namespace: 'shop',
      destination_service_name: 'canary',
      request_protocol: 'http',
      response_code: '200',
      grpc_response_status: '',
      response_flags: '-',
      connection_security_policy: 'mutual_tls',
    });
  });

  it('tells statuses, flags and gRPC apart, and counts messages of gRPC only', () => {
    const metrics = new WaypointMetrics();
    metrics.request(makeRequestRecord());
    metrics.request(makeRequestRecord({ status: 503, flag: 'UH', endpoint: undefined }));
    const grpc = { grpc: true, grpcStatus: 14, requestMessages: 2, responseMessages: 5 } as const;
    metrics.request(makeRequestRecord(grpc));
    metrics.request(makeRequestRecord(grpc));
    const requests = lines(metrics, 'istio_requests_total');
    expect(
      requests.map((line) => [labels(line)['response_code'], labels(line)['response_flags'], value(line)]),
    ).toEqual([
      ['200', '-', 1],
      ['503', 'UH', 1],
      ['200', '-', 2],
    ]);
    expect(labels(requests[2])).toMatchObject({ request_protocol: 'grpc', grpc_response_status: '14' });
    expect(lines(metrics, 'istio_request_messages_total').map(value)).toEqual([4]);
    expect(lines(metrics, 'istio_response_messages_total').map(value)).toEqual([10]);
  });

  it("sorts durations and bytes into Istio's buckets, cumulative and with bounds inclusive", () => {
    const metrics = new WaypointMetrics();
    for (const durationMs of [0.5, 0.6, 25, 3_600_001]) metrics.request(makeRequestRecord({ durationMs }));
    const buckets = lines(metrics, 'istio_request_duration_milliseconds_bucket');
    expect(buckets).toHaveLength(20);
    const at = (le: string) => value(buckets.find((line) => labels(line)['le'] === le));
    expect([at('0.5'), at('1'), at('10'), at('25'), at('3600000'), at('+Inf')]).toEqual([1, 2, 2, 3, 3, 4]);
    expect(lines(metrics, 'istio_request_duration_milliseconds_sum').map(value)).toEqual([3_600_027.1]);
    expect(lines(metrics, 'istio_request_duration_milliseconds_count').map(value)).toEqual([4]);
    expect(lines(metrics, 'istio_request_bytes_sum').map(value)).toEqual([44]);
    expect(lines(metrics, 'istio_response_bytes_sum').map(value)).toEqual([8_888]);
  });

  it('counts by route and backend in series of its own, tries included', () => {
    const metrics = new WaypointMetrics();
    metrics.request(makeRequestRecord({ attempts: 3 }));
    metrics.request(
      makeRequestRecord({ attempts: 0, route: undefined, backend: undefined, status: 404, flag: 'NR' }),
    );
    expect(lines(metrics, 'weft_route_requests_total').map(labels)).toEqual([
      {
        destination_service: 'api.shop.svc.cluster.local',
        weft_route: 'HTTPRoute/shop/api/0',
        weft_backend: 'shop/canary.shop.svc.cluster.local:8080',
        response_code: '200',
        response_flags: '-',
      },
      {
        destination_service: 'api.shop.svc.cluster.local',
        weft_route: 'none',
        weft_backend: 'unknown',
        response_code: '404',
        response_flags: 'NR',
      },
    ]);
    expect(lines(metrics, 'weft_route_retries_total').map(value)).toEqual([2]);
    expect(lines(metrics, 'weft_route_request_duration_milliseconds_count').map(value)).toEqual([1, 1]);
  });

  it('counts TCP connections once, as opened and closed, or as failed', () => {
    const metrics = new WaypointMetrics();
    const good = makeConnectionRecord();
    metrics.opened(good);
    metrics.connection(good);
    metrics.connection(makeConnectionRecord({ flag: 'UF' }));
    expect(lines(metrics, 'istio_tcp_connections_opened_total').map(value)).toEqual([1]);
    const [closed] = lines(metrics, 'istio_tcp_connections_closed_total');
    expect(labels(closed)).toMatchObject({
      reporter: 'waypoint',
      request_protocol: 'tcp',
      response_flags: '-',
    });
    const [failed] = lines(metrics, 'istio_tcp_connections_failed_total');
    expect(labels(failed)).toMatchObject({ response_flags: 'UF' });
    expect(lines(metrics, 'istio_tcp_received_bytes_total').map(value)).toEqual([80]);
    expect(lines(metrics, 'istio_tcp_sent_bytes_total').map(value)).toEqual([144]);
  });

  it('shares one overflow series when there are too many label sets', () => {
    const metrics = new WaypointMetrics({ maxSeries: 2 });
    for (const status of [200, 201, 202, 203, 202]) metrics.request(makeRequestRecord({ status }));
    const requests = lines(metrics, 'istio_requests_total');
    expect(requests.map((line) => [labels(line)['response_code'], value(line)])).toEqual([
      ['200', 1],
      ['201', 1],
      ['overflow', 3],
    ]);
    expect(Object.keys(labels(requests[2]))).toEqual(Object.keys(labels(requests[0])));
    expect(value(lines(metrics, 'weft_metric_series_overflow_total')[0])).toBeGreaterThan(0);
  });

  it('survives a structured clone, and the snapshots of several workers add up', () => {
    const workers = [new WaypointMetrics(), new WaypointMetrics()];
    for (const metrics of workers) {
      metrics.request(makeRequestRecord());
      metrics.refused(404);
      const connection = makeConnectionRecord();
      metrics.opened(connection);
      metrics.connection(connection);
    }
    workers[1]?.request(makeRequestRecord({ status: 500 }));
    const merged = WaypointMetrics.merge(workers.map((metrics) => structuredClone(metrics.snapshot())));
    expect(merged.requests.map(({ requests }) => requests)).toEqual([2, 1]);
    expect(merged.requests[0]?.duration.reduce((sum, count) => sum + count)).toBeCloseTo(2 + 14.8);
    expect(merged.connections[0]).toMatchObject({ opened: 2, received: 160, sent: 288 });
    expect(merged.refused.get(404)).toBe(2);
    // What was given stays as it was.
    expect(workers[0]?.snapshot().requests[0]?.requests).toBe(1);
  });

  it('is well-formed text, whatever a label says', () => {
    const metrics = new WaypointMetrics();
    const route = { kind: 'HTTPRoute', namespace: 'shop', name: 'a', rule: 'say "hi"\\\n' } as const;
    metrics.request(makeRequestRecord({ route }));
    metrics.connection(makeConnectionRecord({ flag: 'UF' }));
    metrics.refused(404);
    const text = renderMetrics(metrics.snapshot(), load);
    for (const line of text.trimEnd().split('\n')) {
      expect(line).toMatch(/^(# (HELP|TYPE) \S+ .+|[a-zA-Z_:][\w:]*(\{(\w+="([^"\\\n]|\\.)*",?)*\})? \S+)$/);
    }
    const types = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(new Set(types).size).toBe(types.length);
    expect(text).toContain('weft_waypoint_connections 3\n');
  });
});
