// The Gateway API's mesh profile, strictly: every case of its conformance tests through real programs (controller, two
// node tunnels, two waypoints, applications), hundreds of requests a feature, and each one right from the first on.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { skipKernelTests, skipReason } from '../../bpf/testing/kernel-suite.ts';
import { type EchoMesh, openEchoMesh } from './echo-mesh.ts';
import { features, grpcWeights, httpWeights, noWeight } from './mesh-profile.ts';
import type { Feature } from './profile-case.ts';
import { shares, wrongAnswers } from './profile-check.ts';

const requestsPerFeature = 200;
const timeout = 90_000;
/** Pods' addresses are known when the lab runs; the titles of the tests before. */
const names = features([]).map(({ name }) => name);

describe.skipIf(skipKernelTests)(`the mesh profile of the Gateway API${skipReason}`, () => {
  let echo: EchoMesh;
  let byName: ReadonlyMap<string, Feature>;

  beforeAll(async () => {
    echo = await openEchoMesh('wayconf');
    const { v4, v6 } = echo.mesh.pod('echo-v2');
    byName = new Map(features([v4, v6]).map((feature) => [feature.name, feature]));
  }, 120_000);

  afterAll(async () => {
    await echo?.[Symbol.asyncDispose]();
  });

  test.each(names)('%s: each request is right', { timeout }, async (name) => {
    const feature = byName.get(name) as Feature;
    await echo.route(feature.routes);
    expect(await wrongAnswers(feature, echo.callers, requestsPerFeature)).toEqual([]);
  });

  test('MeshHTTPRouteWeight: 70 to 30 of 1,000, and 0 is none', { timeout }, async () => {
    await echo.route(httpWeights);
    const call = { host: 'echo', port: 80, path: '/' };
    expect(await shares(echo.callers.shop, call, 1_000)).toEqual({
      'echo-v1': about(700),
      'echo-v2': about(300),
    });
    await echo.route(noWeight);
    expect(await shares(echo.callers.shop, call, 400)).toEqual({ 'echo-v1': 400 });
  });

  test('MeshGRPCRouteWeight: 70 to 30 of 1,000 calls on few connections and on many', {
    timeout,
  }, async () => {
    await echo.route(grpcWeights);
    const call = { host: 'echo', port: 7070, path: '/proto.EchoTestService/Echo', protocol: 'grpc' } as const;
    expect(await shares(echo.callers.shop, call, 1_000)).toEqual({
      'echo-v1': about(700),
      'echo-v2': about(300),
    });
  });
});

/** Weights are exact over time: what a worker may be off by at any moment is the depth of a small tree. */
function about(count: number): unknown {
  return expect.toSatisfy((n: number) => Math.abs(n - count) <= 8, `about ${count}`);
}
