// The Gateway API's mesh profile, strictly: every case of its conformance tests through real programs (controller, two
// node tunnels, two waypoints, applications), hundreds of requests a feature, and each one right from the first on.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { skipKernelTests, skipReason } from '../../bpf/testing/kernel-suite.ts';
import type { Answer, Call } from './caller-main.ts';
import type { EchoAnswer } from './echo-main.ts';
import { type EchoMesh, openEchoMesh } from './echo-mesh.ts';
import { features, grpcWeights, httpWeights, noWeight } from './mesh-profile.ts';
import type { Case, Expected, Feature } from './profile-case.ts';

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
    const { routes, cases } = byName.get(name) as Feature;
    await echo.route(routes);
    const wrong: string[] = [];
    for (const from of ['shop', 'buyers'] as const) {
      const own = cases.filter((each) => (each.from ?? 'shop') === from);
      const times = Math.ceil(requestsPerFeature / 2 / cases.length);
      for (const connections of ['kept', 'new'] as const) {
        if (own.length === 0) continue;
        const answers = await echo.callers[from].batch(own.map(callOf), { times, connections });
        for (const [index, each] of own.entries()) {
          expect(answers[index]).toHaveLength(times);
          for (const answer of answers[index] ?? []) wrong.push(...faults(each, answer));
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  test('MeshHTTPRouteWeight: 70 to 30 of 1,000, and 0 is none', { timeout }, async () => {
    await echo.route(httpWeights);
    const call = { host: 'echo', port: 80, path: '/' };
    expect(await shares(call, 1_000)).toEqual({ 'echo-v1': about(700), 'echo-v2': about(300) });
    await echo.route(noWeight);
    expect(await shares(call, 400)).toEqual({ 'echo-v1': 400 });
  });

  test('MeshGRPCRouteWeight: 70 to 30 of 1,000 calls on few connections and on many', {
    timeout,
  }, async () => {
    await echo.route(grpcWeights);
    const call = { host: 'echo', port: 7070, path: '/proto.EchoTestService/Echo', protocol: 'grpc' } as const;
    expect(await shares(call, 1_000)).toEqual({ 'echo-v1': about(700), 'echo-v2': about(300) });
  });

  async function shares(call: Call, count: number): Promise<Record<string, number>> {
    const pods: Record<string, number> = {};
    for (const connections of ['kept', 'new'] as const) {
      const [answers = []] = await echo.callers.shop.batch([call], { times: count / 2, connections });
      for (const { error, status, headers, body } of answers) {
        const good = error === undefined && status === 200 && (headers['grpc-status'] ?? '0') === '0';
        const pod = good ? echoed(body).pod : `${status} ${error} ${body}`;
        pods[pod] = (pods[pod] ?? 0) + 1;
      }
    }
    return pods;
  }
});

/** Weights are exact over time: what a worker may be off by at any moment is the depth of a small tree. */
function about(count: number): unknown {
  return expect.toSatisfy((n: number) => Math.abs(n - count) <= 8, `about ${count}`);
}

function callOf({ host = 'echo', port = 80, path = '/', method = 'GET', headers = {} }: Case): Call {
  return { host, port, path, method, headers };
}

/** gRPC's message has five octets before it. */
function echoed(body: string): EchoAnswer {
  return JSON.parse(body.slice(body.indexOf('{'))) as EchoAnswer;
}

/** What is wrong with the answer, in words. */
function faults(each: Case, answer: Answer): string[] {
  const { expect: expected } = each;
  const { status = 200, headers = {}, absent = [] } = expected;
  const at = `${each.from ?? ''} ${each.method ?? 'GET'} ${each.host ?? 'echo'}:${each.port ?? 80}${each.path} ${JSON.stringify(each.headers ?? {})}`;
  if (answer.error !== undefined) return [`${at}: ${answer.error}`];
  if (answer.status !== status) return [`${at}: status ${answer.status}: ${answer.body}`];
  const found: string[] = [];
  for (const [name, value] of Object.entries(headers))
    if (answer.headers[name] !== value) found.push(`${at}: ${name} is ${answer.headers[name]}, not ${value}`);
  for (const name of absent)
    if (name in answer.headers) found.push(`${at}: ${name} is there: ${answer.headers[name]}`);
  if (status === 200) found.push(...faultsOfRequest(at, expected, echoed(answer.body)));
  return found;
}

function faultsOfRequest(at: string, expected: Expected, saw: EchoAnswer): string[] {
  const { backend, seen = {}, notSeen = [] } = expected;
  const found: string[] = [];
  if (backend !== undefined && saw.pod !== backend) found.push(`${at}: answered by ${saw.pod}`);
  if (seen.path !== undefined && saw.path !== seen.path) found.push(`${at}: path was ${saw.path}`);
  for (const [name, values] of Object.entries(seen.headers ?? {})) {
    const got = (saw.headers[name] ?? []).flatMap((line) => line.split(',').map((value) => value.trim()));
    if (got.join() !== values.join()) found.push(`${at}: ${name} was ${got.join()}`);
  }
  for (const name of notSeen) if (name in saw.headers) found.push(`${at}: ${name} was there`);
  return found;
}
