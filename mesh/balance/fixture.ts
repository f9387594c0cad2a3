// A service with endpoints in a store, a balancer over it, and a clock that the test moves. For tests only.

import { ip, makeService, makeWorkload } from '../model/fixture.ts';
import { serviceKey } from '../model/key.ts';
import { emptyDelta } from '../model/model.ts';
import type { Service } from '../model/service.ts';
import type { HttpTrafficPolicy, TrafficPolicy } from '../model/traffic-policy.ts';
import type { Workload, WorkloadUid } from '../model/workload.ts';
import { seeded } from '../runtime/testing/seeded.ts';
import { Store } from '../state/store.ts';
import { Balancer, type PickHandle, type PickRequest, type PickResult } from './balancer.ts';

const key = serviceKey('shop', 'api.shop.svc.cluster.local');

export function httpPolicy(fields: Partial<HttpTrafficPolicy>): HttpTrafficPolicy {
  return { key: 'shop/api', ...fields };
}

export class BalancerFixture {
  now = 1_000;
  readonly store = new Store();
  readonly balancer: Balancer;
  http: HttpTrafficPolicy | undefined;
  readonly #source = makeWorkload('source', { node: 'node-1', addresses: [ip('10.0.0.1')] });

  constructor(options: { readonly seed?: number } = {}) {
    this.balancer = new Balancer({ random: seeded(options.seed ?? 7), now: () => this.now });
    this.store.subscribe((snapshot, delta) => this.balancer.onChange(snapshot, delta));
  }

  service(fields: Partial<Service> = {}, policy?: Partial<TrafficPolicy>): void {
    const service = makeService('shop', 'api.shop.svc.cluster.local', {
      ports: [{ name: 'http', servicePort: 80, targetPort: 8080, appProtocol: 'http11' }],
      ...(policy === undefined ? {} : { trafficPolicy: { key: 'shop/api', ...policy } }),
      ...fields,
    });
    this.store.apply({ ...emptyDelta, services: [service] });
  }

  add(...names: (string | { readonly name: string; readonly fields: Partial<Workload> })[]): void {
    const workloads = names.map((entry, i) => {
      const { name, fields } = typeof entry === 'string' ? { name: entry, fields: {} } : entry;
      return makeWorkload(name, {
        name,
        addresses: [ip(`10.1.${i >> 8}.${i & 255}`)],
        services: new Map([[key, []]]),
        ...fields,
      });
    });
    this.store.apply({ ...emptyDelta, workloads });
  }

  pick(fields: Partial<PickRequest> = {}): PickResult {
    return this.balancer.pick(this.store.snapshot(), {
      source: this.#source,
      service: this.store.snapshot().serviceByKey(key) as Service,
      servicePort: 80,
      family: 4,
      excluded: new Set(),
      ...(this.http === undefined ? {} : { http: this.http }),
      ...fields,
    });
  }

  picked(fields: Partial<PickRequest> = {}): PickHandle {
    const result = this.pick(fields);
    if (result.kind !== 'endpoint') throw new Error(result.message);
    return result.handle;
  }

  refusal(fields: Partial<PickRequest> = {}): string {
    const result = this.pick(fields);
    return result.kind === 'none' ? result.reason : `picked ${result.handle.uid}`;
  }

  /** One whole request; returns who had it. */
  request(
    answer: (uid: WorkloadUid) => { readonly status?: number; readonly ms?: number } = () => ({}),
    fields: Partial<PickRequest> = {},
  ): WorkloadUid {
    const handle = this.picked(fields);
    this.balancer.begin(handle);
    this.balancer.connected(handle, 1);
    const { status = 200, ms = 1 } = answer(handle.uid);
    this.balancer.responded(handle, { status, latencyMs: ms });
    this.balancer.closed(handle);
    return handle.uid;
  }

  shares(count: number, run: () => WorkloadUid = () => this.request()): Record<string, number> {
    const seen: Record<string, number> = {};
    for (let i = 0; i < count; i++) {
      const uid = run();
      seen[uid] = (seen[uid] ?? 0) + 1;
    }
    return seen;
  }

  ejected(): string[] {
    return this.balancer
      .ejections()
      .filter(({ state }) => state === 'ejected')
      .map(({ uid }) => uid)
      .sort();
  }
}
