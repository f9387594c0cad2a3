// The mesh profile of the Gateway API as in e2e/waypoint/mesh-profile.root.test.ts, on real nodes: hundreds of requests for
// each feature, every one right, and weights within the bound of what two waypoints may be off by.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { features, grpcWeights, httpWeights, noWeight } from '../../waypoint/mesh-profile.ts';
import type { Feature } from '../../waypoint/profile-case.ts';
import { shares, wrongAnswers } from '../../waypoint/profile-check.ts';
import { installGatewayApi } from '../gateway-api.ts';
import { installMesh } from '../mesh-installation.ts';
import { ProfileWorld } from './profile-world.ts';

const cluster = sessionCluster();
const requestsPerFeature = 200;
/** Pods' addresses are known when they run; the titles of the tests before. */
const names = features([]).map(({ name }) => name);

describe('the mesh profile of the Gateway API on real nodes', () => {
  const world = new ProfileWorld(cluster);
  let byName: ReadonlyMap<string, Feature>;

  beforeAll(async () => {
    await installGatewayApi(cluster);
    await installMesh(cluster);
    await world.create();
    const all = features(await world.addresses());
    byName = new Map(all.map((feature) => [feature.name, feature]));
  });
  afterAll(async () => await world.remove());

  test.each(names)('%s: each request is right', async (name) => {
    const feature = byName.get(name) as Feature;
    await world.route(feature.routes);
    expect(await wrongAnswers(feature, world.callers, requestsPerFeature)).toEqual([]);
  });

  test('weights: 70 to 30 of 1,000, and 0 is none', async () => {
    await world.route(httpWeights);
    const call = { host: 'echo', port: 80, path: '/' };
    expect(await shares(world.callers.shop, call, 1_000)).toEqual(seventyToThirty);
    await world.route(noWeight);
    expect(await shares(world.callers.shop, call, 400)).toEqual({ 'echo-v1': 400 });
  });

  test('weights of gRPC: 70 to 30 of 1,000 calls', async () => {
    await world.route(grpcWeights);
    const call = { host: 'echo', port: 7070, path: '/proto.EchoTestService/Echo', protocol: 'grpc' } as const;
    expect(await shares(world.callers.shop, call, 1_000)).toEqual(seventyToThirty);
  });
});

/** Weights are exact over time: what a worker may be off by at any moment is the depth of a small tree. */
const about = (count: number) =>
  expect.toSatisfy((n: number) => Math.abs(n - count) <= 8, `about ${count}`) as number;
const seventyToThirty = { 'echo-v1': about(700), 'echo-v2': about(300) };
