import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import type { KubeRequest } from '../kubernetes/kube-client.ts';
import { KubeError } from '../kubernetes/kube-error.ts';
import { gatewaySchema } from '../resources/gateway-gateway.ts';
import { type DeployedGateway, WaypointDeployer } from './waypoint-deployer.ts';

function gateway(annotations: Record<string, string> = {}): DeployedGateway {
  const metadata = {
    name: 'wp',
    namespace: 'shop',
    labels: {},
    annotations,
    creationTimestamp: '',
    deleting: false,
    ownerReferences: [],
  };
  const { spec } = gatewaySchema.parse({ spec: { gatewayClassName: 'weft-waypoint' } });
  return { object: { metadata, spec }, parameters: undefined };
}

/** Objects by path; each applied one gets a uid and keeps its owners. */
class FakeApi {
  readonly objects = new Map<string, { metadata: { uid: string; ownerReferences?: { uid: string }[] } }>();
  readonly log: string[] = [];
  failing: KubeError | undefined;

  request<T>({ method = 'GET', path, body }: KubeRequest): Promise<T> {
    const [at = ''] = path.split('?');
    this.log.push(`${method} ${at.split('/').slice(-2).join('/')}`);
    if (this.failing !== undefined) return Promise.reject(this.failing);
    const found = this.objects.get(at);
    if (method === 'GET') {
      return found === undefined
        ? Promise.reject(new KubeError('NOT_FOUND', 'not there'))
        : Promise.resolve(found as T);
    }
    if (method === 'DELETE') this.objects.delete(at);
    else if (method === 'PATCH') {
      const { metadata } = body as { metadata: { ownerReferences?: { uid: string }[] } };
      this.objects.set(at, {
        metadata: { ...metadata, uid: found?.metadata.uid ?? `u${this.objects.size}` },
      });
    } else throw new Error(`Unexpected ${method}`);
    return Promise.resolve({} as T);
  }

  /** The requests since the last look. */
  take(): string[] {
    return this.log.splice(0);
  }
}

let api: FakeApi;
let clock: ManualClock;
let deployer: WaypointDeployer;
let told: number;

beforeEach(() => {
  api = new FakeApi();
  clock = new ManualClock();
  told = 0;
  deployer = new WaypointDeployer({
    client: api,
    clock,
    logger: createLogger({ component: 'waypoints', level: 'silent' }),
    settings: { image: 'x', controller: 'c:15012', clusterId: 'k' },
    identify: () => ({ uid: 'gateway-1', apiVersion: 'gateway.networking.k8s.io/v1' }),
    roots: () => 'PEM',
    onProblems: () => told++,
  });
});
afterEach(() => deployer.close());

/** Until nothing more happens at this time: every answer of the fake is there at once. */
async function settle(): Promise<void> {
  for (let i = 0; i < 100; i++) await Promise.resolve();
}

const kinds = [
  'configmaps',
  'deployments',
  'horizontalpodautoscalers',
  'poddisruptionbudgets',
  'serviceaccounts',
  'services',
];
const kindsOf = (log: readonly string[], method: string) =>
  log
    .filter((line) => line.startsWith(`${method} `))
    .map((line) => line.slice(method.length + 1).replace(/\/.*/, ''))
    .sort();

describe('WaypointDeployer', () => {
  it('asks nothing of the API server while it does not lead', async () => {
    deployer.update([gateway()]);
    await settle();
    expect(api.take()).toEqual([]);
    deployer.lead(true);
    await settle();
    expect(kindsOf(api.take(), 'PATCH')).toEqual(kinds);
    deployer.lead(false);
    deployer.update([gateway({ 'weft.dev/min-replicas': '3' })]);
    clock.advance(120_000);
    await settle();
    expect(api.take()).toEqual([]);
  });

  it('does nothing for an update that changes nothing, and applies again what changed', async () => {
    deployer.update([gateway()]);
    deployer.lead(true);
    await settle();
    api.take();
    deployer.update([gateway()]);
    await settle();
    expect(api.take()).toEqual([]);
    deployer.update([gateway({ 'weft.dev/min-replicas': '3' })]);
    await settle();
    expect(kindsOf(api.take(), 'PATCH')).toEqual(kinds);
  });

  it('puts back within a minute what somebody deleted', async () => {
    deployer.update([gateway()]);
    deployer.lead(true);
    await settle();
    api.objects.clear();
    clock.advance(60_000);
    await settle();
    expect(api.objects.size).toBe(kinds.length);
  });

  it('deletes the autoscaler it made when the number of pods is fixed, and no other', async () => {
    deployer.update([gateway()]);
    deployer.lead(true);
    await settle();
    api.take();
    deployer.update([gateway({ 'weft.dev/min-replicas': '1', 'weft.dev/max-replicas': '1' })]);
    await settle();
    expect(kindsOf(api.take(), 'DELETE')).toEqual(['horizontalpodautoscalers']);
    const theirs = '/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/wp';
    api.objects.set(theirs, { metadata: { uid: 'theirs' } });
    clock.advance(60_000);
    await settle();
    expect(api.objects.has(theirs)).toBe(true);
  });

  it('applies nothing beside an object of another owner and says so once, until it is gone', async () => {
    const path = '/api/v1/namespaces/shop/services/wp';
    api.objects.set(path, { metadata: { uid: 'theirs' } });
    deployer.update([gateway()]);
    deployer.lead(true);
    await settle();
    expect(deployer.problems.get('shop/wp')).toBe("Service shop/wp exists and is not the Gateway's");
    expect(kindsOf(api.take(), 'PATCH')).toEqual([]);
    clock.advance(60_000);
    await settle();
    expect(told).toBe(1);
    api.objects.delete(path);
    clock.advance(60_000);
    await settle();
    expect([deployer.problems.size, told]).toEqual([0, 2]);
    expect(kindsOf(api.take(), 'PATCH')).toEqual(kinds);
  });

  it('tries again, later each time, while the API server refuses, and tells why', async () => {
    api.failing = new KubeError('FORBIDDEN', 'no right');
    deployer.update([gateway()]);
    deployer.lead(true);
    await settle();
    expect(deployer.problems.get('shop/wp')).toBe('Its objects could not be applied: no right');
    expect(api.take()).toHaveLength(1);
    api.failing = undefined;
    clock.advance(2_000);
    await settle();
    expect(deployer.problems.size).toBe(0);
    expect(api.objects.size).toBe(kinds.length);
  });
});
