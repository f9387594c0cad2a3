// What the tests of the mesh ask of a pod's application: one request, or the reason why there is no answer.

import type { AgentError } from '../lab/agent.ts';
import { apiPort, type MeshPod } from './mesh-lab.ts';

export interface ApiAnswer {
  readonly pod: string;
  readonly client: string;
}

/** One request on a connection of its own. */
export async function callApi(from: MeshPod, host: string, path = '/'): Promise<ApiAnswer> {
  const answer = await from.agent.call('http', { host, port: apiPort, path, timeoutMs: 10_000 });
  return JSON.parse(answer.body) as ApiAnswer;
}

/** The error code of a request that fails, `''` if it is answered. */
export async function failure(from: MeshPod, host: string, path = '/'): Promise<string> {
  try {
    await callApi(from, host, path);
    return '';
  } catch (error) {
    return (error as AgentError).reason;
  }
}
