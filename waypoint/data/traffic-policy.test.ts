// TrafficPolicies as the controller sends them, in the routing of a service: which one is in force for a request.

import { createServer, type RequestListener } from 'node:http';
import { describe, expect, it } from 'vitest';
import type { ServiceRouting } from '../../mesh/model/routing.ts';
import type { Service } from '../../mesh/model/service.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import { ask } from '../testing/ask.ts';
import { PlaneRig, rule } from '../testing/plane-rig.ts';

const policy = (key: string, fields: Partial<HttpTrafficPolicy>): HttpTrafficPolicy => ({ key, ...fields });
const perMinute = (requests: number) => [
  { key: { kind: 'all' } as const, requests, intervalMs: 60_000, burst: requests, when: undefined },
];

async function backend(rig: PlaneRig, name: string, handler: RequestListener): Promise<Service> {
  return rig.service(name, [await rig.serve(createServer(handler))]);
}

const ok: RequestListener = (_incoming, outgoing) => outgoing.end('ok');

function withPolicies(rig: PlaneRig, service: Service, fields: Partial<ServiceRouting>): void {
  const routing = [...rig.plane.snapshot.routings.values()].find((known) => known.service === service.key);
  rig.apply({ routings: [{ ...(routing as ServiceRouting), ...fields }] });
}

async function statuses(rig: PlaneRig, port: number, count: number, path = '/'): Promise<number[]> {
  const seen: number[] = [];
  for (let i = 0; i < count; i++) seen.push((await ask(rig, port, { path })).status);
  return seen;
}

describe('the policy in the routing of a service', () => {
  it('is in force without any route, and tells clients what is left', async () => {
    await using rig = new PlaneRig();
    const service = await backend(rig, 'app', ok);
    rig.routes(service, {});
    const port = rig.listen(service);
    withPolicies(rig, service, { trafficPolicy: policy('shop/app', { rateLimits: perMinute(2) }) });
    const first = await ask(rig, port);
    expect(first.headers['ratelimit']).toBe('"all";r=1;t=30');
    expect(await statuses(rig, port, 2)).toEqual([200, 429]);
    expect(await rig.record(2)).toMatchObject({ flag: 'RL' });
  });

  it('gives way to the policy of the route, field by field', async () => {
    await using rig = new PlaneRig();
    const service = await backend(rig, 'app', ok);
    const abort = { status: 418, grpcStatus: undefined, percent: 100 };
    const faults = [{ when: undefined, delay: undefined, abort }];
    rig.routes(service, { http: [rule([service], { trafficPolicy: policy('shop/route', { faults: [] }) })] });
    const port = rig.listen(service);
    withPolicies(rig, service, { trafficPolicy: policy('shop/app', { faults, rateLimits: perMinute(1) }) });
    expect(await statuses(rig, port, 2)).toEqual([200, 429]);
  });

  it('says how the service a route leads to is used, unless that has a policy of its own', async () => {
    await using rig = new PlaneRig();
    const failing = await backend(rig, 'failing', (_incoming, outgoing) => {
      outgoing.writeHead(500).end();
    });
    const front = rig.service('front', []);
    rig.routes(front, { http: [rule([failing])] });
    const port = rig.listen(front);
    const detection = { consecutiveGatewayErrors: 0, successRateDeviations: 0, latencyFactor: 0 };
    const ejection = {
      consecutiveFailures: 3,
      baseEjectionMs: 60_000,
      maxEjectionMs: 60_000,
      maxEjectionPercent: 100,
    };
    const circuit = (consecutive5xx: number) =>
      policy('shop/circuit', { ejection, httpOutlierDetection: { ...detection, consecutive5xx } });
    withPolicies(rig, front, {
      trafficPolicy: circuit(2),
      backendPolicies: [{ service: failing.key, policy: circuit(4) }],
    });
    expect(await statuses(rig, port, 6)).toEqual([500, 500, 500, 500, 503, 503]);
    expect(await rig.record(5)).toMatchObject({ flag: 'UH' });
  });
});
