import { describe, expect, it } from 'vitest';
import { ip, makeService, makeWorkload, vip } from '../mesh/model/fixture.ts';
import { defaultMeshConfig } from '../mesh/model/mesh-config.ts';
import { emptyDelta, type ModelDelta } from '../mesh/model/model.ts';
import type { Service } from '../mesh/model/service.ts';
import type { GatewayAddress, Workload } from '../mesh/model/workload.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import { Store } from '../mesh/state/store.ts';
import { resolve } from './resolve.ts';

const source = makeWorkload('web', { namespace: 'shop', addresses: [ip('10.0.0.1')] });
const api = makeWorkload('api', { name: 'api', addresses: [ip('10.0.0.2'), ip('fd00::2')] });
const plain = makeWorkload('plain', { name: 'plain', addresses: [ip('10.0.0.3')], tunnelProtocol: 'none' });
const service = makeService('shop', 'api.shop', {
  addresses: [vip('10.96.0.1'), vip('fd96::1')],
  ports: [80, 8080].map((port) => ({
    name: `p${port}`,
    servicePort: port,
    targetPort: port,
    appProtocol: 'unknown',
  })),
});
function snapshot(delta: Partial<ModelDelta> = {}): Snapshot {
  const store = new Store();
  store.apply({ ...emptyDelta, workloads: [source, api, plain], services: [service], ...delta });
  return store.snapshot();
}

function to(address: string, port = 80, state: Snapshot = snapshot(), random = 0) {
  return from(source, address, port, state, random);
}

function from(client: Workload, address: string, port = 80, state: Snapshot = snapshot(), random = 0) {
  return resolve(state, {
    source: client,
    destination: { address: ip(address), port },
    random: () => random,
  });
}

describe('resolve()', () => {
  it('finds the Service of a virtual address of either family, with the port that was dialled', () => {
    for (const address of ['10.96.0.1', 'fd96::1']) {
      const result = to(address, 8080);
      expect(result).toMatchObject({ kind: 'service', port: 8080 });
      expect(result.kind === 'service' && result.service.hostname).toBe('api.shop');
    }
  });

  it('finds the workload of an address of either family', () => {
    for (const address of ['10.0.0.2', 'fd00::2']) {
      const result = to(address);
      expect(result.kind === 'workload' && result.workload.name).toBe('api');
    }
  });

  it('takes a Service before a workload with the same address', () => {
    const shared = makeService('shop', 'both.shop', { addresses: [vip('10.0.0.2')], ports: service.ports });
    expect(to('10.0.0.2', 80, snapshot({ services: [shared] })).kind).toBe('service');
  });

  it('refuses a port that the Service does not have', () => {
    expect(to('10.96.0.1', 81)).toEqual({
      kind: 'refused',
      reason: 'Service "api.shop" has no port 81',
      flag: 'CONNECT',
    });
  });

  it('passes a Service through that asks for it, whatever the port', () => {
    const loadBalancing = { ...service.loadBalancing, mode: 'passthrough' } as const;
    for (const port of [80, 81])
      expect(to('10.96.0.1', port, snapshot({ services: [{ ...service, loadBalancing }] }))).toEqual({
        kind: 'passthrough',
      });
  });

  it.each([15_001, 15_006, 15_008])('refuses port %d of a workload in the mesh as a loop', (port) => {
    expect(to('10.0.0.2', port)).toEqual({
      kind: 'refused',
      reason: `port ${port} belongs to the mesh: a proxy loop`,
      flag: 'CONNECT',
    });
    expect(to('10.0.0.3', port).kind).toBe('workload');
  });

  it.each(['127.0.0.1', '127.8.8.8', '::1'])(
    'refuses loopback %s, which should not have been captured',
    (address) => {
      expect(to(address)).toEqual({
        kind: 'refused',
        reason: `loopback destination ${address} was captured`,
        flag: 'CONNECT',
      });
    },
  );

  it('treats what nobody claims as MeshConfig says', () => {
    expect(to('203.0.113.1')).toEqual({ kind: 'passthrough' });
    const denying = snapshot({ meshConfig: { ...defaultMeshConfig, unknownDestinations: 'deny' } });
    expect(to('203.0.113.1', 443, denying)).toEqual({
      kind: 'refused',
      reason:
        'no service or workload has the address 203.0.113.1, and MeshConfig denies unknown destinations',
      flag: 'CONNECT',
    });
    expect(to('10.0.0.2', 80, denying).kind).toBe('workload');
  });

  it('knows only addresses of the source workload network', () => {
    const state = snapshot();
    const elsewhere = { ...source, network: 'other' };
    expect(from(elsewhere, '10.0.0.2', 80, state)).toEqual({ kind: 'passthrough' });
    expect(from(elsewhere, '10.96.0.1', 80, state)).toEqual({ kind: 'passthrough' });
  });
});

describe('resolve() of what has a waypoint', () => {
  const gate = makeService('infra', 'gate.infra', {
    ports: [{ name: 'hbone', servicePort: 15_008, targetPort: 15_008, appProtocol: 'unknown' }],
    addresses: [vip('10.96.0.9')],
  });
  const gatePod = makeWorkload('gate-1', {
    name: 'gate-1',
    namespace: 'infra',
    addresses: [ip('10.0.0.9')],
    services: new Map([[gate.key, []]]),
  });
  const waypoint: GatewayAddress = {
    destination: { kind: 'hostname', namespace: 'infra', hostname: 'gate.infra' },
    hboneMtlsPort: 15_008,
  };
  const byAddress = (address: string): GatewayAddress => ({
    destination: { kind: 'address', network: '', address: ip(address) },
    hboneMtlsPort: 15_008,
  });
  const behindGate = { ...service, waypoint };
  const apiBehindGate = { ...api, waypoint };

  function mesh({
    services = [behindGate, gate] as Service[],
    workloads = [source, apiBehindGate, gatePod] as Workload[],
  } = {}): Snapshot {
    return snapshot({ services, workloads });
  }

  it('leads a Service address and a pod address to it', () => {
    expect(to('10.96.0.1', 80, mesh())).toEqual({
      kind: 'waypoint',
      waypoint: { kind: 'service', service: gate, port: 15_008 },
      service: behindGate,
    });
    expect(to('10.0.0.2', 80, mesh())).toEqual({
      kind: 'waypoint',
      waypoint: { kind: 'service', service: gate, port: 15_008 },
      service: undefined,
    });
  });

  it('finds it by the address of its Service or of its pod', () => {
    const through = (address: string) =>
      to('10.96.0.1', 80, mesh({ services: [{ ...service, waypoint: byAddress(address) }, gate] }));
    expect(through('10.96.0.9')).toMatchObject({ kind: 'waypoint', waypoint: { kind: 'service' } });
    expect(through('10.0.0.9')).toMatchObject({
      kind: 'waypoint',
      waypoint: { kind: 'workload', workload: gatePod, address: '10.0.0.9', port: 15_008 },
    });
  });

  it('chooses among weighted waypoints by their weight, and takes the plain one when all weigh nothing', () => {
    const other = makeService('infra', 'other.infra', { ports: gate.ports });
    const otherPod = makeWorkload('other-1', { services: new Map([[other.key, []]]) });
    const otherWaypoint: GatewayAddress = {
      destination: { kind: 'hostname', namespace: 'infra', hostname: 'other.infra' },
      hboneMtlsPort: 15_008,
    };
    const chosen = (weights: [number, number], random: number) => {
      const weightedWaypoints = [
        { destination: otherWaypoint, weight: weights[0] },
        { destination: waypoint, weight: weights[1] },
      ];
      const state = mesh({
        services: [{ ...behindGate, weightedWaypoints }, gate, other],
        workloads: [source, api, gatePod, otherPod],
      });
      const result = to('10.96.0.1', 80, state, random);
      return result.kind === 'waypoint' && result.waypoint.kind === 'service'
        ? result.waypoint.service.hostname
        : result.kind;
    };
    expect(chosen([1, 3], 0.24)).toBe('other.infra');
    expect(chosen([1, 3], 0.25)).toBe('gate.infra');
    expect(chosen([1, 0], 0.999)).toBe('other.infra');
    expect(chosen([0, 0], 0.999)).toBe('gate.infra');
  });

  const unready = { ...gatePod, health: 'unhealthy' } as const;
  const idle = { ...gatePod, capacity: 0 };
  it.each([
    ['does not exist', mesh({ services: [behindGate] })],
    ['has no ready endpoint', mesh({ workloads: [source, apiBehindGate] })],
    ['has no ready endpoint', mesh({ workloads: [source, apiBehindGate, unready] })],
    ['has no ready endpoint', mesh({ workloads: [source, apiBehindGate, idle] })],
  ])('refuses, and never goes past it, when it %s', (why, state) => {
    const only = `is reached through waypoint gate.infra only, which ${why} (weft.dev/waypoint-missing: l4-only would let it past)`;
    const reason = (name: string) => ({ kind: 'refused', flag: 'UH', reason: `${name} ${only}` });
    expect(to('10.96.0.1', 80, state)).toEqual(reason('service api.shop'));
    expect(to('10.0.0.2', 80, state)).toEqual(reason('workload api'));
  });

  it('goes on without it where waypointMissing says l4-only, as long as none is ready', () => {
    const lenient = { ...behindGate, waypointMissing: 'l4-only' } as const;
    const lenientApi = { ...apiBehindGate, waypointMissing: 'l4-only' } as const;
    const missing = mesh({ services: [lenient, gate], workloads: [source, lenientApi, unready] });
    expect(to('10.96.0.1', 80, missing)).toEqual({ kind: 'service', service: lenient, port: 80 });
    expect(to('10.0.0.2', 80, missing)).toEqual({ kind: 'workload', workload: lenientApi });
    const ready = mesh({ services: [lenient, gate], workloads: [source, lenientApi, gatePod] });
    expect(to('10.96.0.1', 80, ready).kind).toBe('waypoint');
    expect(to('10.0.0.2', 80, ready).kind).toBe('waypoint');
  });

  it('does not lead connections of the waypoint itself back to it', () => {
    expect(from(gatePod, '10.96.0.1', 80, mesh()).kind).toBe('service');
    expect(from(gatePod, '10.0.0.2', 80, mesh()).kind).toBe('workload');
  });
});
