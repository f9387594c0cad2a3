// Any history of changes, questions, lost streams and full responses ends with the client knowing what the store holds.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { IpAddress } from '../model/ip-address.ts';
import type { Service, ServiceKey } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import { ManualClock } from '../runtime/clock.ts';
import { response as makeResponse } from './testing/raw-peers.ts';
import { ResourceStore } from './resource-store.ts';
import { ResponseReader } from './response-reader.ts';
import { encodeService } from './service-codec.ts';
import { Subscription } from './subscription.ts';
import { makeService, makeWorkload } from './testing/test-mesh.ts';
import { addressType } from './type-urls.ts';
import { encodeWorkload } from './workload-codec.ts';

type Step =
  | { kind: 'workload'; id: number; ip: number; member: boolean; capacity: number }
  | { kind: 'service'; id: number; canonical: boolean }
  | { kind: 'remove'; name: string }
  | { kind: 'ask'; name: string }
  | { kind: 'push' }
  | { kind: 'respond' }
  | { kind: 'reconnect' };

const id = fc.nat(2);
const names = [
  'c//Pod/shop/w0',
  'c//Pod/shop/w1',
  'shop/s0.shop.svc.cluster.local',
  '/10.0.0.0',
  '/10.0.0.1',
  '/10.96.0.1',
];
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('workload' as const),
      id,
      ip: id,
      member: fc.boolean(),
      capacity: fc.nat(2),
    }),
    fc.record({ kind: fc.constant('service' as const), id, canonical: fc.boolean() }),
    fc.record({ kind: fc.constant('remove' as const), name: fc.constantFrom(...names) }),
    fc.record({ kind: fc.constant('ask' as const), name: fc.constantFrom(...names) }),
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constantFrom('push' as const, 'respond' as const, 'reconnect' as const),
      }),
    },
  ),
  { minLength: 10, maxLength: 60 },
);

class Session {
  readonly store = new ResourceStore({ clock: new ManualClock() });
  readonly reader = new ResponseReader(addressType);
  readonly workloads = new Map<string, Workload>();
  readonly services = new Map<string, Service>();
  readonly asked = new Set<string>();
  readonly #onDemand: boolean;
  #subscription: Subscription;

  constructor(onDemand: boolean) {
    this.#onDemand = onDemand;
    this.#subscription = this.#subscribe();
    this.store.subscribe((changes) => this.#subscription.noteChanges(changes.get(addressType) ?? new Map()));
  }

  run(step: Step): void {
    if (step.kind === 'push') this.store.flush();
    else if (step.kind === 'respond') this.respond();
    else if (step.kind === 'reconnect') this.#subscription = this.#subscribe();
    else if (step.kind === 'remove') this.store.apply(addressType, { removed: [step.name] });
    else if (step.kind === 'ask') this.#ask(step.name);
    else if (step.kind === 'service') {
      const service = makeService(`s${step.id}`, { canonical: step.canonical });
      this.store.apply(addressType, { upserted: [encodeService(service)] });
    } else {
      const services = new Map(step.member ? [['shop/s0.shop.svc.cluster.local' as ServiceKey, []]] : []);
      const addresses = [`10.0.0.${step.ip}` as IpAddress];
      const workload = makeWorkload(`w${step.id}`, { addresses, services, capacity: step.capacity });
      this.store.apply(addressType, { upserted: [encodeWorkload(workload)] });
    }
  }

  respond(): boolean {
    const content = this.#subscription.ready ? this.#subscription.next() : undefined;
    if (content === undefined) return false;
    const resources = content.resources.map(({ name, resource }) => ({
      name,
      version: resource.version,
      resource: resource.any,
    }));
    const { delta, refused } = this.reader.read(
      makeResponse({ resources, removedResources: [...content.removed] }),
    );
    if (refused.length > 0) throw new Error(`Refused: ${JSON.stringify(refused)}`);
    for (const workload of delta.workloads) this.workloads.set(workload.uid, workload);
    for (const service of delta.services) this.services.set(service.key, service);
    for (const uid of delta.removed.workloads) this.workloads.delete(uid);
    for (const key of delta.removed.services) this.services.delete(key);
    return true;
  }

  /** Names of what the client should know once all is said. */
  expected(): string[] {
    if (!this.#onDemand) return [...this.store.entries(addressType)].map(({ name }) => name).sort();
    const found = new Set<string>();
    for (const name of this.asked) {
      const own = this.store.get(addressType, name);
      for (const hit of own ? [own] : this.store.byAlias(addressType, name)) {
        found.add(hit.name);
        for (const member of this.store.byGroup(addressType, hit.name)) found.add(member.name);
      }
    }
    return [...found].sort();
  }

  #ask(name: string): void {
    if (!this.#onDemand) return;
    this.asked.add(name);
    this.#subscription.update(request({ resourceNamesSubscribe: [name] }));
  }

  #subscribe(): Subscription {
    const star = this.#onDemand ? ['*'] : [];
    const waiting = [...this.asked].map((name) => [name, '']);
    return new Subscription(
      request({
        resourceNamesSubscribe: star,
        resourceNamesUnsubscribe: star,
        initialResourceVersions: {
          ...Object.fromEntries(waiting),
          ...Object.fromEntries(this.reader.accepted.versions()),
        },
      }),
      { store: this.store, typeUrl: addressType, node: 'node-a', maxResponseBytes: 200 },
    );
  }
}

function request(fields: Partial<ConstructorParameters<typeof Subscription>[0]>) {
  return { resourceNamesSubscribe: [], resourceNamesUnsubscribe: [], initialResourceVersions: {}, ...fields };
}

describe('Subscription and ResponseReader', () => {
  test('agree in the end in wildcard mode, whatever happened', () => {
    fc.assert(
      fc.property(steps, (history) => {
        const session = new Session(false);
        for (const step of history) session.run(step);
        session.store.flush();
        for (let i = 0; session.respond(); i++) expect(i).toBeLessThan(100);
        expect([...session.workloads.keys(), ...session.services.keys()].sort()).toEqual(session.expected());
        for (const workload of session.workloads.values()) {
          expect(session.store.get(addressType, workload.uid)?.version).toBe(
            encodeWorkload(workload).version,
          );
        }
      }),
      { numRuns: 300 },
    );
  });

  // Over a reconnect an on-demand client asks for every name it holds, so it may know more than it asked for, never less.
  test.each([[true], [false]])('agree in the end on demand, with streams lost: %s', (lossy) => {
    fc.assert(
      fc.property(steps, (history) => {
        const session = new Session(true);
        for (const step of history) if (lossy || step.kind !== 'reconnect') session.run(step);
        session.store.flush();
        for (let i = 0; session.respond(); i++) expect(i).toBeLessThan(100);
        const known = [...session.workloads.keys(), ...session.services.keys()].sort();
        if (lossy) expect(known).toEqual(expect.arrayContaining(session.expected()));
        else expect(known).toEqual(session.expected());
        for (const name of known) expect(session.store.get(addressType, name)).toBeDefined();
        for (const workload of session.workloads.values()) {
          expect(session.store.get(addressType, workload.uid)?.version).toBe(
            encodeWorkload(workload).version,
          );
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** What a client on demand shall hold, by name, looked up anew from nothing. */
function wantedOf(store: ResourceStore, asked: ReadonlySet<string>): Map<string, string> {
  const wanted = new Map<string, string>();
  for (const name of asked) {
    const own = store.get(addressType, name);
    const hits = own === undefined ? store.byAlias(addressType, name) : [own];
    const [first] = hits.sort(
      (a, b) => Number(b.name.includes('//Pod/')) - Number(a.name.includes('//Pod/')),
    );
    if (first !== undefined) wanted.set(name, first.version);
    for (const hit of hits) {
      wanted.set(hit.name, hit.version);
      for (const member of store.byGroup(addressType, hit.name)) wanted.set(member.name, member.version);
    }
  }
  return wanted;
}

describe('a subscription on demand', () => {
  const name = fc.constantFrom(...names);
  const kinds = ['ask', 'give-up', 'remove', 'workload', 'service', 'push', 'respond'] as const;
  const histories = fc.array(
    fc.record({ kind: fc.constantFrom(...kinds), name, id, ip: id, member: fc.boolean() }),
    { maxLength: 60 },
  );

  test('says what is wanted by looking at what changed only, names given up included', () => {
    fc.assert(
      fc.property(histories, (history) => {
        const store = new ResourceStore({ clock: new ManualClock() });
        const star = ['*'];
        const nothing = request({ resourceNamesSubscribe: star, resourceNamesUnsubscribe: star });
        const subscription = new Subscription(nothing, {
          store,
          typeUrl: addressType,
          node: 'n',
          maxResponseBytes: 200,
        });
        store.subscribe((changes) => subscription.noteChanges(changes.get(addressType) ?? new Map()));
        const asked = new Set<string>();
        const client = new Map<string, string>();
        const respond = (): boolean => {
          const content = subscription.ready ? subscription.next() : undefined;
          for (const sent of content?.resources ?? []) client.set(sent.name, sent.resource.version);
          for (const gone of content?.removed ?? []) client.delete(gone);
          return content !== undefined;
        };
        for (const step of history) {
          if (step.kind === 'push') store.flush();
          else if (step.kind === 'respond') respond();
          else if (step.kind === 'remove') store.apply(addressType, { removed: [step.name] });
          else if (step.kind === 'ask') {
            asked.add(step.name);
            subscription.update(request({ resourceNamesSubscribe: [step.name] }));
          } else if (step.kind === 'give-up') {
            if (asked.delete(step.name)) client.delete(step.name);
            subscription.update(request({ resourceNamesUnsubscribe: [step.name] }));
          } else if (step.kind === 'service') {
            const service = makeService(`s${step.id}`, { canonical: step.member });
            store.apply(addressType, { upserted: [encodeService(service)] });
          } else {
            const key = 'shop/s0.shop.svc.cluster.local' as ServiceKey;
            const services = new Map(step.member ? [[key, []]] : []);
            const addresses = [`10.0.0.${step.ip}` as IpAddress];
            const workload = makeWorkload(`w${step.id}`, { addresses, services });
            store.apply(addressType, { upserted: [encodeWorkload(workload)] });
          }
        }
        store.flush();
        for (let i = 0; respond(); i++) expect(i).toBeLessThan(100);
        expect(client).toEqual(wantedOf(store, asked));
      }),
      { numRuns: 500 },
    );
  });

  test('is not woken by what it did not ask for', () => {
    const store = new ResourceStore({ clock: new ManualClock() });
    store.set(addressType, [encodeWorkload(makeWorkload('a')), encodeWorkload(makeWorkload('b'))]);
    store.flush();
    const asked = request({ resourceNamesSubscribe: ['c//Pod/shop/a'] });
    const subscription = new Subscription(asked, {
      store,
      typeUrl: addressType,
      node: 'n',
      maxResponseBytes: 1e6,
    });
    store.subscribe((changes) => subscription.noteChanges(changes.get(addressType) ?? new Map()));
    expect(subscription.next()?.resources).toHaveLength(1);
    store.apply(addressType, { upserted: [encodeWorkload(makeWorkload('b', { capacity: 7 }))] });
    store.flush();
    expect(subscription.ready).toBe(false);
    store.apply(addressType, { upserted: [encodeWorkload(makeWorkload('a', { capacity: 7 }))] });
    store.flush();
    expect(subscription.ready).toBe(true);
  });
});

describe('Subscription', () => {
  const options = (store: ResourceStore) => ({
    store,
    typeUrl: addressType,
    node: 'n',
    maxResponseBytes: 1e6,
  });
  const filled = () => {
    const store = new ResourceStore({ clock: new ManualClock() });
    store.set(addressType, [encodeWorkload(makeWorkload('a')), encodeWorkload(makeWorkload('b'))]);
    return store;
  };
  const said = (subscription: Subscription) => subscription.next()?.resources.map(({ name }) => name);

  test('owes a first response even when there is nothing to say, and no second', () => {
    const subscription = new Subscription(
      request({}),
      options(new ResourceStore({ clock: new ManualClock() })),
    );
    expect(subscription.ready).toBe(true);
    expect(subscription.next()).toEqual({ resources: [], removed: [] });
    expect(subscription.ready).toBe(false);
  });

  test('takes "*" asked for and given up in one request as nothing', () => {
    const star = { resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] };
    expect(said(new Subscription(request(star), options(filled())))).toEqual([]);
  });

  test('widens to everything by "*" and narrows again', () => {
    const store = filled();
    const subscription = new Subscription(
      request({ resourceNamesSubscribe: ['c//Pod/shop/a'] }),
      options(store),
    );
    expect(said(subscription)).toEqual(['c//Pod/shop/a']);
    subscription.update(request({ resourceNamesSubscribe: ['*'] }));
    expect(said(subscription)).toEqual(['c//Pod/shop/b']);
    subscription.update(request({ resourceNamesUnsubscribe: ['*'] }));
    expect(said(subscription)).toEqual(['c//Pod/shop/a']);
  });

  test('sends again a name that is asked for again, and is silent about one given up', () => {
    const store = filled();
    const name = 'c//Pod/shop/a';
    const subscription = new Subscription(request({ resourceNamesSubscribe: [name] }), options(store));
    expect(said(subscription)).toEqual([name]);
    subscription.update(request({ resourceNamesSubscribe: [name] }));
    expect(said(subscription)).toEqual([name]);
    subscription.update(request({ resourceNamesUnsubscribe: [name] }));
    expect(subscription.next()).toBeUndefined();
  });

  test('does not repeat what changed before it began', () => {
    const store = filled();
    const subscription = new Subscription(request({}), options(store));
    store.subscribe((changes) => subscription.noteChanges(changes.get(addressType) ?? new Map()));
    expect(said(subscription)).toHaveLength(2);
    store.flush();
    expect(subscription.ready).toBe(false);
  });

  test('prefers the pod when several workloads have one address', () => {
    const store = new ResourceStore({ clock: new ManualClock() });
    const addresses = ['10.0.0.1' as IpAddress];
    store.set(addressType, [
      encodeWorkload(makeWorkload('pod', { addresses })),
      encodeWorkload(
        makeWorkload('entry', { addresses, uid: 'a/networking.istio.io/WorkloadEntry/x/y' as never }),
      ),
    ]);
    const subscription = new Subscription(request({ resourceNamesSubscribe: ['/10.0.0.1'] }), options(store));
    const answer = subscription.next()?.resources.find(({ name }) => name === '/10.0.0.1');
    expect(answer?.resource.name).toBe('c//Pod/shop/pod');
  });
});
