import { describe, expect, it } from 'vitest';
import { parseAuthority } from '../../mesh/hbone/authority.ts';
import { ip, makeService, makeWorkload, vip } from '../../mesh/model/fixture.ts';
import { emptyDelta } from '../../mesh/model/model.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { ServicePort } from '../../mesh/model/service.ts';
import type { GatewayAddress } from '../../mesh/model/workload.ts';
import { Store } from '../../mesh/state/store.ts';
import { classify } from './classify.ts';

const gateway = 'shop/wp' as GatewayKey;
const port: ServicePort = { name: 'http', servicePort: 80, targetPort: 8080, appProtocol: 'http11' };
const waypointNamed = (name: string): GatewayAddress => ({
  destination: { kind: 'hostname', namespace: 'shop', hostname: `${name}.shop.svc.cluster.local` },
  hboneMtlsPort: 15008,
});

function ask(authority: string, clientNamespace = 'shop') {
  const store = new Store();
  store.apply({
    ...emptyDelta,
    services: [
      makeService('shop', 'api.shop.svc.cluster.local', {
        addresses: [vip('10.1.0.1')],
        ports: [port],
        waypoint: waypointNamed('wp'),
      }),
      makeService('shop', 'other.shop.svc.cluster.local', {
        addresses: [vip('10.1.0.2')],
        ports: [port],
        waypoint: waypointNamed('wp2'),
      }),
      makeService('shop', 'free.shop.svc.cluster.local', { addresses: [vip('10.1.0.3')], ports: [port] }),
      makeService('shop', 'by-address.shop.svc.cluster.local', {
        addresses: [vip('10.1.0.4')],
        ports: [port],
        waypoint: {
          destination: { kind: 'address', network: '', address: ip('10.1.0.9') },
          hboneMtlsPort: 15008,
        },
      }),
      makeService('shop', 'wp.shop.svc.cluster.local', { addresses: [vip('10.1.0.9')], ports: [] }),
      makeService('shop', 'hidden.shop.svc.cluster.local', {
        addresses: [vip('10.1.0.5')],
        ports: [port],
        visibility: 'namespace',
        waypoint: waypointNamed('wp'),
      }),
    ],
    workloads: [
      makeWorkload('a', { addresses: [ip('10.0.0.1')], waypoint: waypointNamed('wp') }),
      makeWorkload('b', { addresses: [ip('10.0.0.2')] }),
    ],
  });
  const parsed = parseAuthority(authority);
  if (parsed === undefined) throw new Error(`No authority: ${authority}`);
  return classify(store.snapshot(), parsed, { gateway, network: '', clientNamespace });
}

describe('classify()', () => {
  it('finds the service of a virtual address and the port that was asked for', () => {
    expect(ask('10.1.0.1:80')).toMatchObject({ kind: 'service', port: 80, destination: '10.1.0.1' });
  });

  it('finds a service by host name, with its own address as destination', () => {
    expect(ask('api.shop.svc.cluster.local:80')).toMatchObject({ kind: 'service', destination: '10.1.0.1' });
  });

  it('takes a waypoint that is given as an address of the gateway for its name', () => {
    expect(ask('10.1.0.4:80')).toMatchObject({ kind: 'service' });
  });

  it('finds the workload at a pod address, with any port', () => {
    expect(ask('10.0.0.1:9999')).toMatchObject({ kind: 'workload', workload: { uid: 'a' }, port: 9999 });
  });

  it.each([
    ['a service of another waypoint', '10.1.0.2:80', 404],
    ['a service without a waypoint', '10.1.0.3:80', 404],
    ['a workload without a waypoint', '10.0.0.2:80', 404],
    ['a port the service does not have', '10.1.0.1:81', 404],
    ['an address nobody has', '10.9.9.9:80', 503],
    ['a host name nobody has', 'nobody.shop.svc.cluster.local:80', 503],
  ])('refuses %s', (_what, authority, status) => {
    expect(ask(authority)).toMatchObject({ kind: 'refused', status });
  });

  it('does not show a client of another namespace a service of namespace visibility', () => {
    expect(ask('10.1.0.5:80')).toMatchObject({ kind: 'service' });
    expect(ask('10.1.0.5:80', 'elsewhere')).toMatchObject({ kind: 'refused', status: 503 });
  });
});
