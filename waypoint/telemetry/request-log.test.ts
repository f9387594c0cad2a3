import { describe, expect, it } from 'vitest';
import { policyKey } from '../../mesh/model/key.ts';
import { ip } from '../../mesh/model/fixture.ts';
import { clientConnection, makeConnectionRecord, makeRequestRecord } from './record.fixture.ts';
import { formatAudit, formatConnection, formatRefusal, formatRequest, requestFailed } from './request-log.ts';

const endedAt = Date.parse('2026-01-02T03:04:06Z');
const json = { endedAt, format: 'json', traceId: '' } as const;
const text = { ...json, format: 'text' } as const;

describe('formatRequest()', () => {
  it("has Envoy's field names, in JSON", () => {
    const line = formatRequest(makeRequestRecord(), { ...json, traceId: 'abc' });
    expect(line.endsWith('}\n')).toBe(true);
    expect(JSON.parse(line)).toEqual({
      level: 'info',
      time: '2026-01-02T03:04:06.000Z',
      scope: 'access',
      message: 'request complete',
      start_time: '2026-01-02T03:04:05.678Z',
      method: 'GET',
      path: '/items?page=2',
      protocol: 'HTTP/1.1',
      response_code: 200,
      response_flags: '-',
      bytes_received: 11,
      bytes_sent: 2_222,
      duration: 7,
      upstream_service_time: 5,
      x_forwarded_for: '10.1.0.1',
      user_agent: 'curl/8 "quoted"',
      request_id: 'f00',
      authority: 'api.shop',
      upstream_host: '10.1.0.2:8080',
      upstream_cluster: 'canary.shop.svc.cluster.local:8080',
      upstream_workload: 'shop/canary-1',
      downstream_local_address: '10.96.0.1:80',
      downstream_remote_address: '10.1.0.1:40000',
      source_identity: 'spiffe://td/ns/shop/sa/web',
      source_workload: 'shop/web-1',
      route_name: 'HTTPRoute/shop/api/0',
      trace_id: 'abc',
    });
  });

  it('says in text what went wrong, and nothing of what is not known', () => {
    const line = formatRequest(
      makeRequestRecord({
        status: 503,
        flag: 'UH',
        details: 'no endpoint of "api" is ready',
        endpoint: undefined,
        endpointAddress: undefined,
        responseMs: -1,
        attempts: 2,
      }),
      text,
    );
    expect(line).toMatch(
      /^2026-01-02T03:04:06.000Z\terror\taccess\trequest complete\tstart_time=\S+ method="GET" /,
    );
    expect(line).toContain('response_flags=UH response_code_details="no endpoint of \\"api\\" is ready" ');
    expect(line).toContain(' attempts=2');
    expect(line).not.toMatch(/upstream_host|upstream_service_time|trace_id|undefined/);
  });

  it('keeps a line one line, whatever a client wrote', () => {
    const record = makeRequestRecord();
    const request = {
      ...record.request,
      path: '/a\n2026 info fake',
      headers: [['user-agent', 'x" y="z']] as const,
    };
    for (const options of [text, json]) {
      const line = formatRequest({ ...record, request }, options);
      expect(line.indexOf('\n')).toBe(line.length - 1);
    }
    expect(JSON.parse(formatRequest({ ...record, request }, json))).toMatchObject({ user_agent: 'x" y="z' });
  });

  it('names level by what happened', () => {
    const level = (fields: Parameters<typeof makeRequestRecord>[0]) =>
      JSON.parse(formatRequest(makeRequestRecord(fields), json)).level;
    expect(level({ status: 404 })).toBe('info');
    expect(level({ status: 403, flag: 'UAEX' })).toBe('warn');
    expect(level({ status: 500 })).toBe('error');
    expect(level({ status: 0, flag: 'DC' })).toBe('error');
  });
});

describe('requestFailed()', () => {
  it('holds for flags and server errors, not for a delay that was asked for', () => {
    expect(requestFailed({ flag: '', status: 499 })).toBe(false);
    expect(requestFailed({ flag: '', status: 500 })).toBe(true);
    expect(requestFailed({ flag: 'RL', status: 429 })).toBe(true);
    expect(requestFailed({ flag: 'DI', status: 200 })).toBe(false);
  });
});

describe('other lines', () => {
  it('a connection has its server name and bytes', () => {
    const line = JSON.parse(formatConnection(makeConnectionRecord({ sni: 'db.shop' }), json));
    expect(line).toMatchObject({
      message: 'connection complete',
      protocol: 'TCP',
      requested_server_name: 'db.shop',
      bytes_received: 80,
      bytes_sent: 144,
    });
  });

  it('an audit names policy and rule, and what a dry run would have done', () => {
    const audits = [
      { policy: policyKey('shop', 'watch'), rule: '0' },
      { policy: policyKey('shop', 'dry'), rule: 'named', wouldDeny: true },
    ];
    const line = JSON.parse(formatAudit(makeRequestRecord({ audits }), json));
    expect(line).toMatchObject({
      message: 'policy audit',
      path: '/items?page=2',
      policies: 'shop/watch rule 0, shop/dry rule named (would deny)',
    });
  });

  it('a refusal says who, where to and why', () => {
    const { spiffeId } = clientConnection;
    const line = formatRefusal(
      {
        address: ip('10.1.0.1'),
        port: 1,
        spiffeId,
        authority: 'x:1',
        status: 404,
        reason: 'not served here',
      },
      text,
    );
    expect(line).toContain('warn\taccess\tconnection refused\tdownstream_remote_address=10.1.0.1:1 ');
    expect(line).toContain('response_code=404 error="not served here"');
  });
});
