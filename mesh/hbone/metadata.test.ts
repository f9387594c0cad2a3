import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ip, makeWorkload } from '../model/fixture.ts';
import { ipFromBytes } from '../model/ip-address.ts';
import { formatBaggage, formatForwarded, newTraceparent, parseBaggage, parseForwarded } from './metadata.ts';

/** A label value as Kubernetes has them. */
const name = fc.stringMatching(/^[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?$/);

describe('baggage', () => {
  it('brings back what it was made of', () => {
    fc.assert(
      fc.property(
        fc.record({
          clusterId: name,
          namespace: name,
          workloadName: name,
          workloadType: fc.constantFrom('deployment', 'cronjob', 'pod', 'job'),
          canonicalName: name,
          canonicalRevision: name,
        }),
        (fields) => {
          const labels = parseBaggage(formatBaggage(makeWorkload('uid', fields)));
          expect(labels).toEqual({
            cluster: fields.clusterId,
            namespace: fields.namespace,
            workload: fields.workloadName,
            workloadType: fields.workloadType,
            service: fields.canonicalName,
            revision: fields.canonicalRevision,
          });
        },
      ),
    );
  });

  it('has the members and the order of Istio, empty ones left out', () => {
    const workload = makeWorkload('uid', {
      clusterId: 'c1',
      workloadType: 'deployment',
      workloadName: 'web-7d',
      canonicalRevision: '',
      locality: { region: 'eu', zone: '', subzone: '' },
    });
    expect(formatBaggage(workload)).toBe(
      'k8s.cluster.name=c1,k8s.namespace.name=shop,k8s.deployment.name=web-7d,service.name=web,cloud.region=eu',
    );
  });

  it('ignores unknown members, spaces around known ones and a header that is too long', () => {
    const labels = parseBaggage(
      ' x=1 , k8s.namespace.name = shop ,=, service.name==a=,k8s.statefulset.name=db',
    );
    expect(labels).toMatchObject({ namespace: 'shop', service: '=a=', workload: '', workloadType: '' });
    expect(parseBaggage(`service.name=web,${'x'.repeat(5_000)}`).service).toBe('');
  });

  it('never throws', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('k8s.', 'pod', '.name', '=', ',', ' ', 'service', 'a') }),
    );
    fc.assert(
      fc.property(text, (header) => {
        for (const value of Object.values(parseBaggage(header))) expect(typeof value).toBe('string');
      }),
      { numRuns: 300 },
    );
  });
});

describe('forwarded', () => {
  it('brings back address, port and host', () => {
    const address = fc
      .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
      .map((bytes) => ipFromBytes(bytes));
    fc.assert(
      fc.property(address, fc.integer({ min: 1, max: 65_535 }), fc.option(name), (source, port, host) => {
        expect(parseForwarded(formatForwarded({ address: source, port }, host ?? undefined))).toEqual({
          source: { address: source, port },
          ...(host === null ? {} : { host }),
        });
      }),
    );
  });

  it('is written as Istio writes it', () => {
    expect(formatForwarded({ address: ip('fd00::1'), port: 4711 }, 'api.shop')).toBe(
      'for="[fd00::1]:4711";host=api.shop',
    );
  });

  it('takes only the first element and only what parses', () => {
    expect(parseForwarded('for="10.0.0.1:1", for="10.0.0.2:2"')).toEqual({
      source: { address: '10.0.0.1', port: 1 },
    });
    expect(parseForwarded('for=unknown;host=')).toEqual({});
    expect(parseForwarded('for="10.0.0.1"')).toEqual({});
    expect(parseForwarded('For=10.0.0.1:1; HOST="a"')).toEqual({
      source: { address: '10.0.0.1', port: 1 },
      host: 'a',
    });
    expect(parseForwarded(`for="10.0.0.1:1";x=${'x'.repeat(5_000)}`)).toEqual({});
  });

  it('never throws', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('for', 'host', '=', ';', ',', '"', ':', '[', ']', '1', '.', ' ') }),
    );
    fc.assert(
      fc.property(text, (header) => {
        expect(parseForwarded(header)).toBeTypeOf('object');
      }),
      { numRuns: 300 },
    );
  });
});

describe('traceparent', () => {
  it('is a fresh, valid W3C value each time', () => {
    const values = Array.from({ length: 1_000 }, () => newTraceparent());
    for (const value of values) expect(value).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    expect(new Set(values).size).toBe(1_000);
  });
});
