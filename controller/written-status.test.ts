import { describe, expect, it } from 'vitest';
import { goodCondition, type ObjectStatus } from './translate/statuses.ts';
import { isWritten, writtenStatus } from './written-status.ts';

const now = Date.UTC(2026, 10, 21, 8);
const later = now + 60_000;
const accepted = goodCondition('Accepted', 'Accepted', 'In force for this parent');
const refused = { ...accepted, status: 'False' as const, reason: 'NoMatchingParent' };
const service = { group: '', kind: 'Service', name: 'api' };

const route: ObjectStatus = {
  kind: 'HTTPRoute',
  namespace: 'shop',
  name: 'r',
  generation: 4,
  conditions: [],
  parents: [{ ref: service, conditions: [accepted] }],
};
const other = { parentRef: { name: 'edge' }, controllerName: 'example.com/other', conditions: [] };

describe('writtenStatus() of a route', () => {
  it('keeps the entries of other controllers, and replaces its own', () => {
    const stale = { parentRef: { name: 'old' }, controllerName: 'weft.dev/controller', conditions: [] };
    const { parents } = writtenStatus(route, { current: { parents: [stale, other] }, now });
    expect(parents?.map(({ parentRef, controllerName }) => [parentRef?.name, controllerName])).toEqual([
      ['edge', 'example.com/other'],
      ['api', 'weft.dev/controller'],
    ]);
    expect(parents?.[1]?.conditions[0]).toMatchObject({
      observedGeneration: 4,
      lastTransitionTime: '2026-11-21T08:00:00Z',
    });
  });

  it('keeps the time of transition as long as the value of the condition is the same', () => {
    const current = writtenStatus(route, { current: undefined, now });
    const reworded = { ...accepted, message: 'Otherwise' };
    const parts = (condition: typeof accepted) => ({
      ...route,
      parents: [{ ref: service, conditions: [condition] }],
    });
    const time = (status: ObjectStatus) =>
      writtenStatus(status, { current, now: later }).parents?.[0]?.conditions[0]?.lastTransitionTime;
    expect(time(parts(reworded))).toBe('2026-11-21T08:00:00Z');
    expect(time(parts(refused as typeof accepted))).toBe('2026-11-21T08:01:00Z');
  });

  it('fills in what the API server fills in, so that the same reference is found again', () => {
    const bare = { ...route, parents: [{ ref: { name: 'wp' }, conditions: [accepted] }] };
    const { parents } = writtenStatus(bare, { current: undefined, now });
    expect(parents?.[0]?.parentRef).toEqual({
      group: 'gateway.networking.k8s.io',
      kind: 'Gateway',
      name: 'wp',
    });
  });

  it('takes its entries back when no parent is ours any more, and only then', () => {
    const none = { ...route, parents: [] };
    const mine = writtenStatus(route, { current: { parents: [other] }, now });
    expect(isWritten(writtenStatus(none, { current: mine, now }), mine)).toBe(false);
    expect(isWritten(writtenStatus(none, { current: { parents: [other] }, now }), { parents: [other] })).toBe(
      true,
    );
    expect(isWritten(writtenStatus(none, { current: undefined, now }), undefined)).toBe(true);
  });

  it('is written when the object says the same, at whatever time and whoever else is there', () => {
    const current = writtenStatus(route, { current: undefined, now });
    const both = { parents: [...(current.parents ?? []), other] };
    expect(isWritten(writtenStatus(route, { current: both, now: later }), both)).toBe(true);
    const newer = { ...route, generation: 5 };
    expect(isWritten(writtenStatus(newer, { current: both, now: later }), both)).toBe(false);
  });
});

describe('writtenStatus() of a Gateway', () => {
  const gateway: ObjectStatus = {
    kind: 'Gateway',
    namespace: 'shop',
    name: 'wp',
    generation: 2,
    conditions: [accepted],
    gateway: {
      addresses: [{ type: 'IPAddress', value: '10.96.0.1' }],
      listeners: [{ name: 'mesh', attachedRoutes: 0, conditions: [accepted] }],
    },
  };

  it('has the fields of its definition and no others', () => {
    const written = writtenStatus(gateway, { current: undefined, now });
    expect(Object.keys(written).sort()).toEqual(['addresses', 'conditions', 'listeners']);
    expect(written.conditions?.map(({ type }) => type)).toEqual(['Accepted', 'Programmed']);
    expect(written.listeners?.[0]).toMatchObject({ name: 'mesh', supportedKinds: [], attachedRoutes: 0 });
    expect(isWritten(written, written)).toBe(true);
    expect(isWritten(written, { ...written, addresses: [] })).toBe(false);
    expect(isWritten(written, { ...written, listeners: [] })).toBe(false);
  });

  it('says of a class which features it supports', () => {
    const status: ObjectStatus = {
      kind: 'GatewayClass',
      namespace: '',
      name: 'weft-waypoint',
      conditions: [accepted],
      supportedFeatures: ['HTTPRoute', 'Mesh'],
    };
    const written = writtenStatus(status, { current: undefined, now });
    expect(written).toMatchObject({ supportedFeatures: [{ name: 'HTTPRoute' }, { name: 'Mesh' }] });
    expect(written.conditions?.map(({ type }) => type)).toEqual(['Accepted']);
  });
});

describe('writtenStatus() of a policy', () => {
  it('has an entry for each target, sixteen at most', () => {
    const ancestors = Array.from({ length: 20 }, (_, i) => ({
      ref: { ...service, name: `s${i}` },
      conditions: [accepted],
    }));
    const policy: ObjectStatus = {
      kind: 'TrafficPolicy',
      namespace: 'shop',
      name: 'p',
      generation: 1,
      conditions: [accepted],
      ancestors,
    };
    const written = writtenStatus(policy, { current: undefined, now });
    expect(written.observedGeneration).toBe(1);
    expect(written.ancestors).toHaveLength(16);
    expect(written.ancestors?.[0]).toMatchObject({ ancestorRef: { kind: 'Service', name: 's0' } });
    expect(isWritten(written, written)).toBe(true);
  });

  it('reads whatever nonsense a status holds', () => {
    for (const nonsense of [null, 7, { conditions: 'x', parents: [null, 3, {}] }, { parents: {} }])
      expect(isWritten(writtenStatus(route, { current: nonsense, now }), nonsense)).toBe(false);
  });
});
