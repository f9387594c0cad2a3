// What the L7 steps ask of the store: one request, or many to see which version answered.

import type { HttpAnswer } from '../lab/agent-protocol.ts';
import { claim } from './demo-error.ts';
import { eventually } from './eventually.ts';
import type { DemoWorld } from './world.ts';

/** Service `store` of the manifests. */
export const storeAddress = '10.96.0.30';
export const storePort = 8080;
export const storeGrpcPort = 7000;
export const waypoints = ['waypoint-1', 'waypoint-2'];

export interface StoreAnswer {
  readonly pod: string;
  readonly client: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly seen?: number;
}

export interface StoreRequest {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default `web`. */
  readonly from?: string;
}

/** One request to the store, whatever its status; rejects when the connection fails. */
export function askStore(
  world: DemoWorld,
  { path = '/', headers = {}, from = 'web' }: StoreRequest = {},
): Promise<HttpAnswer> {
  const target = { host: storeAddress, port: storePort, path, headers, timeoutMs: 5000 };
  return world.pod(from).agent.call('http', target);
}

/** The store's own answer; rejects for any status but 200. */
export async function callStore(world: DemoWorld, request: StoreRequest = {}): Promise<StoreAnswer> {
  const { status, body } = await askStore(world, request);
  claim(status === 200, `The store answered ${request.path ?? '/'} with ${status}: ${body.slice(0, 200)}`);
  return JSON.parse(body) as StoreAnswer;
}

/** How many of `count` requests each version answered; rejects if one fails. */
export async function versions(
  world: DemoWorld,
  count: number,
  request: StoreRequest = {},
): Promise<{ readonly v1: number; readonly v2: number }> {
  let v2 = 0;
  const clients = Array.from({ length: 4 }, async () => {
    for (let i = 0; i < count / 4; i++)
      if ((await callStore(world, request)).pod.startsWith('store-v2')) v2++;
  });
  await Promise.all(clients);
  return { v1: count - v2, v2 };
}

/** Waits until a request is answered as `holds` wants, which shows that a change is in force at every waypoint pod. */
export async function untilStore(
  world: DemoWorld,
  what: string,
  request: StoreRequest,
  holds: (answer: HttpAnswer) => boolean,
): Promise<void> {
  // Connections take the waypoint's pods in turn: several in a row that agree have met all of them.
  const inARow = 3 * waypoints.length;
  await eventually(what, async () => {
    for (let i = 0; i < inARow; i++) if (!holds(await askStore(world, request))) return undefined;
    return true;
  });
}

export function podOf(answer: HttpAnswer): string {
  return answer.status === 200 ? (JSON.parse(answer.body) as StoreAnswer).pod : '';
}
