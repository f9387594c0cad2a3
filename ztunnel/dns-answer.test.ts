import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ip, makeService, makeWorkload, vip } from '../mesh/model/fixture.ts';
import { serviceKey } from '../mesh/model/key.ts';
import { emptyDelta } from '../mesh/model/model.ts';
import type { Service, ServicePort } from '../mesh/model/service.ts';
import { Store } from '../mesh/state/store.ts';
import { answer } from './dns-answer.ts';
import { dnsTypes } from './dns-message.ts';

const client = makeWorkload('client', { namespace: 'shop' });
const http: ServicePort = { name: 'http', servicePort: 80, targetPort: 8080, appProtocol: 'tcp' };
const cluster = (name: string, namespace: string, fields: Partial<Service> = {}) =>
  makeService(namespace, `${name}.${namespace}.svc.cluster.local`, { name, ports: [http], ...fields });
const dbKey = serviceKey('shop', 'db.shop.svc.cluster.local');
const pod = (name: string, fields = {}) =>
  makeWorkload(name, { name, services: new Map([[dbKey, []]]), ...fields });

const store = new Store();
store.apply({
  ...emptyDelta,
  services: [
    cluster('api', 'shop', { addresses: [vip('10.96.0.1'), vip('fd96::1'), vip('10.200.0.1', 32, 'far')] }),
    cluster('api', 'other', { addresses: [vip('10.96.0.2')] }),
    cluster('secret', 'other', { addresses: [vip('10.96.0.3')], visibility: 'namespace' }),
    cluster('db', 'shop'),
    cluster('empty', 'shop'),
    makeService('shop', 'pay.example.com', { addresses: [vip('240.0.0.1')] }),
    makeService('other', 'pay.example.com', { addresses: [vip('240.0.0.2')], canonical: true }),
    makeService('other', '*.wild.example.com', { addresses: [vip('240.0.0.3')] }),
    makeService('other', 'no-address.example.com'),
    makeService('other', 'range.example.com', { addresses: [vip('10.50.0.0', 16)] }),
  ],
  workloads: [
    pod('db-0', { addresses: [ip('10.1.0.1'), ip('fd01::1')] }),
    pod('db-1', {
      addresses: [ip('10.1.0.2')],
      services: new Map([[dbKey, [{ servicePort: 80, targetPort: 9090 }]]]),
    }),
    pod('db-2', { addresses: [ip('10.1.0.3')], health: 'unhealthy' }),
    pod('db-3', { addresses: [ip('10.1.0.4')], network: 'far' }),
  ],
});

function ask(name: string, type: keyof typeof dnsTypes = 'A', of = client) {
  const question = { name: name.toLowerCase(), askedName: name, type: dnsTypes[type] };
  return answer(question, store.snapshot(), {
    client: of,
    clusterDomain: 'cluster.local',
    random: () => 0.5,
  });
}

function data(name: string, type: 'A' | 'AAAA' = 'A', of = client): unknown {
  const result = ask(name, type, of);
  return result === 'forward'
    ? result
    : result.answers
        .map((record) => (record.type === 'A' || record.type === 'AAAA' ? record.data : ''))
        .toSorted();
}

describe('answer() for addresses', () => {
  it.each(['api', 'api.shop', 'api.shop.svc', 'api.shop.svc.cluster.local'])(
    'knows %s as the service of the own namespace',
    (name) => {
      expect(data(name)).toEqual(['10.96.0.1']);
      expect(data(name, 'AAAA')).toEqual(['fd96::1']);
    },
  );

  it('tells namespaces apart and hides what is not visible', () => {
    expect(data('api.other')).toEqual(['10.96.0.2']);
    expect(data('secret.other.svc.cluster.local')).toBe('forward');
    expect(data('secret', 'A', makeWorkload('x', { namespace: 'other' }))).toEqual(['10.96.0.3']);
  });

  it('prefers the own namespace, then the canonical service', () => {
    expect(data('pay.example.com')).toEqual(['240.0.0.1']);
    expect(data('pay.example.com', 'A', makeWorkload('x', { namespace: 'third' }))).toEqual(['240.0.0.2']);
  });

  it('keeps the case of the question, TTL 30, and empties a family the name does not have', () => {
    expect(ask('API.Shop')).toEqual({
      answers: [{ type: 'A', name: 'API.Shop', ttl: 30, data: '10.96.0.1' }],
      additionals: [],
    });
    expect(data('api.other', 'AAAA')).toEqual([]);
  });

  it('takes off a search domain and says so with a CNAME', () => {
    const result = ask('pay.example.com.shop.svc.cluster.local');
    expect(result).toEqual({
      answers: [
        { type: 'CNAME', name: 'pay.example.com.shop.svc.cluster.local', ttl: 30, data: 'pay.example.com' },
        { type: 'A', name: 'pay.example.com', ttl: 30, data: '240.0.0.1' },
      ],
      additionals: [],
    });
    expect(ask('pay.example.com.shop.svc.cluster.local', 'AAAA')).toEqual({ answers: [], additionals: [] });
  });

  it('matches wildcards at any depth, not the name above them', () => {
    expect(data('a.wild.example.com')).toEqual(['240.0.0.3']);
    expect(data('a.b.wild.example.com')).toEqual(['240.0.0.3']);
    expect(data('wild.example.com')).toBe('forward');
  });

  it('gives the ready pods of a headless service in the own network, and one by its name', () => {
    expect(data('db')).toEqual(['10.1.0.1', '10.1.0.2']);
    expect(data('db', 'AAAA')).toEqual(['fd01::1']);
    expect(data('db-1.db.shop.svc.cluster.local')).toEqual(['10.1.0.2']);
    expect(data('db-1.db')).toEqual(['10.1.0.2']);
    expect(data('db-2.db')).toBe('forward');
    expect(data('db-0.api.shop')).toBe('forward');
    expect(data('empty')).toEqual([]);
  });

  it('forwards external names without an address to give, and everything it does not know', () => {
    for (const name of [
      'no-address.example.com',
      'range.example.com',
      'example.org',
      '',
      'nope.shop.svc.cluster.local',
    ]) {
      expect(data(name)).toBe('forward');
    }
    expect(
      answer({ name: 'api', askedName: 'api', type: 15 }, store.snapshot(), {
        client,
        clusterDomain: 'cluster.local',
        random: Math.random,
      }),
    ).toBe('forward');
  });

  it('shuffles the addresses', () => {
    const orders = new Set<string>();
    for (let i = 0; i < 50; i++) {
      const result = answer({ name: 'db', askedName: 'db', type: 1 }, store.snapshot(), {
        client,
        clusterDomain: 'cluster.local',
        random: () => (i % 10) / 10,
      });
      orders.add(JSON.stringify(result));
    }
    expect(orders.size).toBe(2);
  });

  it('takes any text for a name', () => {
    const label = fc.string({ unit: fc.constantFrom('a', 'b', '*', '-', '_', '.', 'svc'), maxLength: 60 });
    fc.assert(
      fc.property(label, fc.constantFrom('A', 'AAAA', 'SRV'), (name, type) => {
        const result = ask(name, type);
        expect(result === 'forward' || Array.isArray(result.answers)).toBe(true);
      }),
    );
  });
});

describe('answer() for SRV', () => {
  it('names the service and its port, with addresses beside', () => {
    expect(ask('_http._tcp.api.shop.svc.cluster.local', 'SRV')).toEqual({
      answers: [
        {
          type: 'SRV',
          name: '_http._tcp.api.shop.svc.cluster.local',
          ttl: 30,
          data: { priority: 0, weight: 100, port: 80, target: 'api.shop.svc.cluster.local' },
        },
      ],
      additionals: [
        { type: 'A', name: 'api.shop.svc.cluster.local', ttl: 30, data: '10.96.0.1' },
        { type: 'AAAA', name: 'api.shop.svc.cluster.local', ttl: 30, data: 'fd96::1' },
      ],
    });
  });

  it('names each ready pod of a headless service with its own target port', () => {
    const result = ask('_http._tcp.db', 'SRV');
    if (result === 'forward') throw new Error(result);
    const targets = result.answers.map((record) =>
      record.type === 'SRV' ? `${record.data.target}:${record.data.port}` : '',
    );
    expect(targets.toSorted()).toEqual([
      'db-0.db.shop.svc.cluster.local:8080',
      'db-1.db.shop.svc.cluster.local:9090',
    ]);
    expect(result.additionals).toHaveLength(3);
  });

  it('forwards ports and protocols it does not know', () => {
    for (const name of ['_grpc._tcp.api', '_http._udp.api', 'api', '_http._tcp.example.org']) {
      expect(ask(name, 'SRV')).toBe('forward');
    }
  });
});
