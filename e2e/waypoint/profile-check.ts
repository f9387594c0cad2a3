// Asks a mesh for what a feature of the profile says, hundreds of times, and tells in words what was not right; and counts
// which pod answers. Knows neither the lab nor a cluster: callers do the asking.

import type { BatchOptions } from './caller.ts';
import type { Answer, Call } from './caller-main.ts';
import type { EchoAnswer } from './echo-main.ts';
import type { Case, Expected, Feature } from './profile-case.ts';

/** A client in some pod: the answers of each call, in the order of the calls. */
export interface BatchCaller {
  batch(calls: readonly Call[], options: BatchOptions): Promise<readonly (readonly Answer[])[]>;
}

/** One in each of the profile's namespaces. */
export type Callers = Readonly<Record<'shop' | 'buyers', BatchCaller>>;

/** What was wrong in at least so many requests, on kept connections and on new ones; empty if nothing was. */
export async function wrongAnswers(
  { cases }: Feature,
  callers: Callers,
  leastRequests: number,
): Promise<readonly string[]> {
  const wrong: string[] = [];
  const times = Math.ceil(leastRequests / 2 / cases.length);
  for (const from of ['shop', 'buyers'] as const) {
    const own = cases.filter((each) => (each.from ?? 'shop') === from);
    for (const connections of ['kept', 'new'] as const) {
      if (own.length === 0) continue;
      const answers = await callers[from].batch(own.map(callOf), { times, connections });
      for (const [index, each] of own.entries()) {
        const got = answers[index] ?? [];
        if (got.length !== times) wrong.push(`${each.path}: ${got.length} of ${times} answers`);
        for (const answer of got) wrong.push(...faults(each, answer));
      }
    }
  }
  return wrong;
}

/** How often each pod answered, half of the calls on kept connections; anything but an answer counts under its own name. */
export async function shares(
  caller: BatchCaller,
  call: Call,
  count: number,
): Promise<Record<string, number>> {
  const pods: Record<string, number> = {};
  for (const connections of ['kept', 'new'] as const) {
    const [answers = []] = await caller.batch([call], { times: count / 2, connections });
    for (const { error, status, headers, body } of answers) {
      const good = error === undefined && status === 200 && (headers['grpc-status'] ?? '0') === '0';
      const pod = good ? echoed(body).pod : `${status} ${error} ${body}`;
      pods[pod] = (pods[pod] ?? 0) + 1;
    }
  }
  return pods;
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
