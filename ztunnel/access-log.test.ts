import { describe, expect, it } from 'vitest';
import type { Decision } from '../mesh/authz/policy-set.ts';
import { makeService, makeWorkload } from '../mesh/model/fixture.ts';
import { policyKey } from '../mesh/model/key.ts';
import { formatSpiffeId } from '../mesh/model/spiffe-id.ts';
import { isLogged } from '../mesh/proxy/log-line.ts';
import { denialReason, formatAudit, formatClosed, formatFailed } from './access-log.ts';
import { makeConnectionInfo } from './connection-info.fixture.ts';

const identity = (serviceAccount: string) =>
  formatSpiffeId({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount });
const info = makeConnectionInfo({
  sourceWorkload: makeWorkload('client', { name: 'client' }),
  sourceIdentity: identity('client'),
  hboneAuthority: '10.77.0.2:8080',
  destinationService: makeService('shop', 'api.shop.svc.cluster.local'),
  destinationWorkload: makeWorkload('api-1', { name: 'api-1' }),
  destinationIdentity: identity('api'),
  mutualTls: true,
});
const denied: Decision = {
  allowed: false,
  reason: 'denied-by',
  policy: policyKey('shop', 'only-web'),
  rule: '0',
  audits: [],
};
const unmatched: Decision = {
  allowed: false,
  reason: 'no-allow-matched',
  policy: policyKey('shop', 'only-web'),
  audits: [],
};
const text = { endedAt: 1_700_000_000_003, format: 'text' } as const;
const head = '2023-11-14T22:13:20.003Z';

describe('formatClosed()', () => {
  it('has the fields of the Istio ztunnel in their order, bytes as the client side sees them', () => {
    expect(formatClosed(info, { received: 80, sent: 144, flag: '-' }, text)).toBe(
      `${head}\tinfo\taccess\tconnection complete\tsrc.addr=10.77.0.1:58862 src.workload="client" src.namespace="shop" ` +
        'src.identity="spiffe://cluster.local/ns/shop/sa/client" src.cluster="Kubernetes" dst.addr=10.77.0.2:15008 ' +
        'dst.hbone_addr=10.77.0.2:8080 dst.service="api.shop.svc.cluster.local" dst.workload="api-1" ' +
        'dst.namespace="shop" dst.identity="spiffe://cluster.local/ns/shop/sa/api" dst.cluster="Kubernetes" ' +
        'direction="outbound" bytes_sent=80 bytes_recv=144 duration="3ms"\n',
    );
  });

  it('turns the bytes round for the server side', () => {
    const line = formatClosed(
      { ...info, direction: 'inbound' },
      { received: 80, sent: 144, flag: '-' },
      text,
    );
    expect(line).toContain('direction="inbound" bytes_sent=144 bytes_recv=80');
  });

  it('leaves out identities without mutual TLS, and all that is not known', () => {
    const line = formatClosed(
      makeConnectionInfo({ sourceIdentity: identity('client') }),
      { received: 1, sent: 2, flag: '-' },
      text,
    );
    expect(line.split('\t')[4]).toBe(
      'src.addr=10.77.0.1:58862 dst.addr=10.77.0.2:15008 direction="outbound" bytes_sent=1 bytes_recv=2 duration="3ms"\n',
    );
  });

  it('is an error with the policy and the flag when policy ended it', () => {
    const error = denialReason(denied);
    const line = formatClosed(info, { received: 0, sent: 0, flag: 'DENY', error }, text);
    expect(line).toContain('\terror\taccess\tconnection complete\t');
    expect(line).toMatch(
      / error="connection denied by policy shop\/only-web rule 0" response_flags="DENY"\n$/,
    );
  });

  it('writes the same as JSON', () => {
    const line = formatClosed(info, { received: 80, sent: 144, flag: '-' }, { ...text, format: 'json' });
    const fields = JSON.parse(line) as Record<string, unknown>;
    expect(Object.keys(fields).slice(0, 6)).toEqual([
      'level',
      'time',
      'scope',
      'message',
      'src.addr',
      'src.workload',
    ]);
    expect(fields).toMatchObject({ level: 'info', scope: 'access', bytes_sent: 80, duration: '3ms' });
  });

  it('lets no value from a peer break out of its field', () => {
    const evil = makeConnectionInfo({ hboneAuthority: 'x\n" y=', destinationServiceName: 'a"\nb' });
    const line = formatClosed(evil, { received: 0, sent: 0, flag: '-' }, text);
    expect(line.indexOf('\n')).toBe(line.length - 1);
    expect(line).toContain('dst.hbone_addr="x\\n\\" y=" dst.service="a\\"\\nb"');
  });
});

describe('formatFailed()', () => {
  const failure = { flag: 'DENY', reason: denialReason(unmatched) } as const;

  it('is a warning with who, where to and why, in the order of complete lines', () => {
    expect(formatFailed(info, failure, text)).toBe(
      `${head}\twarn\taccess\tconnection failed\tsrc.addr=10.77.0.1:58862 src.workload="client" src.namespace="shop" ` +
        'src.identity="spiffe://cluster.local/ns/shop/sa/client" src.cluster="Kubernetes" dst.addr=10.77.0.2:15008 ' +
        'dst.hbone_addr=10.77.0.2:8080 dst.service="api.shop.svc.cluster.local" dst.workload="api-1" ' +
        'dst.namespace="shop" dst.identity="spiffe://cluster.local/ns/shop/sa/api" dst.cluster="Kubernetes" ' +
        'direction="outbound" error="connection denied: no allow policy matched (asked shop/only-web)" response_flags="DENY"\n',
    );
  });

  it('names the identity it dialled with, but none of the destination that nobody proved', () => {
    const refused = { ...info, mutualTls: false, destinationIdentity: undefined };
    const line = formatFailed(refused, failure, text);
    expect(line).toContain('src.identity="spiffe://cluster.local/ns/shop/sa/client"');
    expect(line).not.toContain('dst.identity');
  });

  it('leaves out what is not known', () => {
    expect(formatFailed(makeConnectionInfo({ direction: 'inbound' }), failure, text).split('\t')[4]).toMatch(
      /^src\.addr=10\.77\.0\.1:58862 dst\.addr=10\.77\.0\.2:15008 direction="inbound" error="/,
    );
  });
});

describe('formatAudit()', () => {
  it('names every policy that matched and what a dry run would have done', () => {
    const [policy, dryRun] = [policyKey('shop', 'watch'), policyKey('shop', 'dry')];
    const audits = [
      { policy, rule: 'admin' },
      { policy: dryRun, rule: '', wouldDeny: true },
    ];
    const line = formatAudit(makeConnectionInfo(), audits, text);
    expect(line).toContain('\tinfo\taccess\tpolicy audit\t');
    expect(line).toMatch(/ policies="shop\/watch rule admin, shop\/dry \(would deny\)"\n$/);
  });
});

describe('isLogged()', () => {
  it('follows MeshConfig', () => {
    expect([isLogged('all', false), isLogged('failures', false), isLogged('off', true)]).toEqual([
      true,
      false,
      false,
    ]);
    expect(isLogged('failures', true)).toBe(true);
  });
});
