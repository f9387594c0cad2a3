// The test's end of an agent in a pod (e2e/lab/agent-server-main.ts): asks it through `kubectl exec`, so it works whatever
// the mesh does with the pod's network, and after restarts of the node's services.

import type { Kubectl } from '../cluster/kubectl.ts';
import { AgentError } from '../lab/agent.ts';
import type { AgentCaller, AgentOperation, AgentReply, ArgumentOf, ResultOf } from '../lab/agent-protocol.ts';
import { LabError } from '../lab/lab-error.ts';

/** The command of a container that is an agent. */
export const agentCommand = ['/usr/local/bin/node', '/app/agent-server-main.ts'] as const;
const agentUrl = 'http://127.0.0.1:9500/';

export class PodAgent implements AgentCaller {
  readonly #kubectl: Kubectl;
  readonly #pod: string;

  /** @param pod `namespace/pod` */
  constructor(kubectl: Kubectl, pod: string) {
    this.#kubectl = kubectl;
    this.#pod = pod;
  }

  /** Rejects with AgentError when the operation failed there, with LabError when the agent could not be asked. */
  async call<K extends AgentOperation>(operation: K, argument: ArgumentOf<K>): Promise<ResultOf<K>> {
    const reply = await askInPod<AgentReply>(this.#kubectl, {
      pod: this.#pod,
      url: agentUrl,
      question: { operation, argument },
    });
    if ('error' in reply) throw new AgentError(reply.error.code, reply.error.message);
    return reply.result as ResultOf<K>;
  }
}

/** Posts a question as JSON to a server on a pod's own loopback. Rejects with LabError if it gave no answer. */
export async function askInPod<T>(
  kubectl: Kubectl,
  { pod, url, question }: { readonly pod: string; readonly url: string; readonly question: unknown },
): Promise<T> {
  const argv = ['/bin/wget', '-qO-', '--post-data', JSON.stringify(question), url];
  const { status, stdout, stderr } = await kubectl.exec(pod, argv);
  if (status !== 0) throw new LabError('agent', `Could not ask ${pod}: ${stderr.trim()}`);
  return JSON.parse(stdout) as T;
}
