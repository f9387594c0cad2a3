import { describe, expect, it } from 'vitest';
import { ip, makeService, makeWorkload, vip } from '../mesh/model/fixture.ts';
import { defaultMeshConfig } from '../mesh/model/mesh-config.ts';
import { emptyDelta, type ModelDelta } from '../mesh/model/model.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import { Store } from '../mesh/state/store.ts';
import { resolve } from './resolve.ts';

const source = makeWorkload('web', { namespace: 'shop', addresses: [ip('10.0.0.1')] });
const api = makeWorkload('api', { name: 'api', addresses: [ip('10.0.0.2'), ip('fd00::2')] });
const plain = makeWorkload('plain', { name: 'plain', addresses: [ip('10.0.0.3')], tunnelProtocol: 'none' });
const service = makeService('shop', 'api.shop', { addresses: [vip('10.96.0.1'), vip('fd96::1')] });
const waypoint = {
  destination: { kind: 'address', network: '', address: ip('10.0.0.9') },
  hboneMtlsPort: 15_008,
} as const;

function snapshot(delta: Partial<ModelDelta> = {}): Snapshot {
  const store = new Store();
  store.apply({ ...emptyDelta, workloads: [source, api, plain], services: [service], ...delta });
  return store.snapshot();
}

function to(address: string, port = 80, state: Snapshot = snapshot()) {
  return resolve(state, source, { address: ip(address), port });
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
    const shared = makeService('shop', 'both.shop', { addresses: [vip('10.0.0.2')] });
    expect(to('10.0.0.2', 80, snapshot({ services: [shared] })).kind).toBe('service');
  });

  it('passes a Service through that asks for it', () => {
    const loadBalancing = { ...service.loadBalancing, mode: 'passthrough' } as const;
    expect(to('10.96.0.1', 80, snapshot({ services: [{ ...service, loadBalancing }] }))).toEqual({
      kind: 'passthrough',
    });
  });

  it('does not let traffic past weighted waypoints either', () => {
    const weighted = { ...service, weightedWaypoints: [{ destination: waypoint, weight: 1 }] };
    expect(to('10.96.0.1', 80, snapshot({ services: [weighted] })).kind).toBe('refused');
  });

  it('does not let traffic past a waypoint that it can not reach', () => {
    const state = snapshot({
      services: [{ ...service, waypoint }],
      workloads: [source, { ...api, waypoint }],
    });
    expect(to('10.96.0.1', 80, state)).toEqual({
      kind: 'refused',
      reason: 'service api.shop requires a waypoint, which this version does not run',
    });
    expect(to('10.0.0.2', 80, state)).toEqual({
      kind: 'refused',
      reason: 'workload api requires a waypoint, which this version does not run',
    });
  });

  it.each([15_001, 15_006, 15_008])('refuses port %d of a workload in the mesh as a loop', (port) => {
    expect(to('10.0.0.2', port)).toEqual({
      kind: 'refused',
      reason: `port ${port} belongs to the mesh: a proxy loop`,
    });
    expect(to('10.0.0.3', port).kind).toBe('workload');
  });

  it.each(['127.0.0.1', '127.8.8.8', '::1'])(
    'refuses loopback %s, which should not have been captured',
    (address) => {
      expect(to(address)).toEqual({
        kind: 'refused',
        reason: `loopback destination ${address} was captured`,
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
    });
    expect(to('10.0.0.2', 80, denying).kind).toBe('workload');
  });

  it('knows only addresses of the source workload network', () => {
    const state = snapshot();
    const elsewhere = { ...source, network: 'other' };
    expect(resolve(state, elsewhere, { address: ip('10.0.0.2'), port: 80 })).toEqual({ kind: 'passthrough' });
    expect(resolve(state, elsewhere, { address: ip('10.96.0.1'), port: 80 })).toEqual({
      kind: 'passthrough',
    });
  });
});
