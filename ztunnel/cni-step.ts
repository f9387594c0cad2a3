// Decides whether a pod whose sandbox was just made may start: at once if it is not in the mesh, when it is captured if it
// is. Fails closed: who is, or may be, in the mesh and can not be captured in time does not start; the kubelet tries again.

import type { NodePod } from '../mesh/model/node-pod.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import { CniError } from './cni-error.ts';
import type { CniPod, CniRequest } from './cni-request.ts';
import type { PodManager } from './pod-manager.ts';
import { openSandboxNetns } from './sandbox.ts';

export interface CniStepOptions {
  readonly pods: Pick<PodManager, 'knownPod' | 'startSandbox' | 'endSandbox' | 'stateOf' | 'onChange'>;
  /** Whether the namespace is enrolled, as far as was ever heard. */
  readonly isEnrolled: (namespace: string) => boolean;
  /** The configuration is complete and the controller there: a pod that is not known will be soon. */
  readonly isCurrent: () => boolean;
  readonly openNetns?: typeof openSandboxNetns;
  readonly metrics: { cniRequest(command: CniRequest['command'], result: CniResult): void };
  readonly clock: Clock;
  readonly logger: Logger;
}

export type CniResult = 'captured' | 'not-enrolled' | 'refused' | 'released';
type AddRequest = Extract<CniRequest, { command: 'ADD' }>;

/** An ADD that is under way. */
interface Add {
  readonly request: AddRequest;
  readonly startedAt: number;
  /** The pod manager has the sandbox. */
  isStarted: boolean;
}

type Verdict = 'captured' | 'not-enrolled' | { readonly wait: string };

/** The kubelet's own patience is two minutes, and it tries again. */
const captureMs = 15_000;
/** For a pod to become known that its namespace does not enrol: its own label may. */
const unknownMs = 5_000;

const unnamed =
  'is in the mesh and can not be told from others: the container runtime does not say its UID (containerd does from 1.6 on)';
const unreachable =
  'is in the mesh and can not be captured: the CNI plugins before weft-cni gave it no address, or no network namespace';

export class CniStep {
  #options: CniStepOptions;

  constructor(options: CniStepOptions) {
    this.#options = options;
  }

  /** Resolves when the pod may start. @throws CniError try-again, not-captured */
  async handle(request: CniRequest): Promise<void> {
    const { pods, metrics, logger } = this.#options;
    if (request.command === 'DEL') {
      pods.endSandbox(request.sandboxId);
      metrics.cniRequest('DEL', 'released');
      return;
    }
    const { command, pod } = request;
    const fields = { pod: `${pod.namespace}/${pod.name}`, sandbox: request.sandboxId };
    try {
      const result = command === 'ADD' ? await this.#add(request) : this.#check(pod);
      metrics.cniRequest(command, result);
      logger.debug({ ...fields, result }, 'Pod may start');
    } catch (error) {
      metrics.cniRequest(command, 'refused');
      logger.warn({ ...fields, command, err: error }, 'Pod may not start');
      throw error;
    }
  }

  #add(request: AddRequest): Promise<CniResult> {
    const { pods, clock } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<CniResult>();
    const add: Add = { request, startedAt: clock.monotonic(), isStarted: false };
    const decide = (): void => {
      try {
        const verdict = this.#decide(add);
        if (typeof verdict === 'string') resolve(verdict);
        else if (this.#waitedMs(add) >= captureMs) reject(tryAgain(request.pod, verdict.wait));
      } catch (error) {
        reject(error);
      }
    };
    const unsubscribe = pods.onChange(decide);
    const timers = [unknownMs, captureMs].map((ms) => clock.after(ms, decide, { unref: true }));
    decide();
    return promise
      .catch((error: unknown) => {
        // The runtime takes the sandbox down and makes another one.
        pods.endSandbox(request.sandboxId);
        throw error;
      })
      .finally(() => {
        unsubscribe();
        for (const timer of timers) timer.cancel();
      });
  }

  #decide(add: Add): Verdict {
    const { pods, isEnrolled, isCurrent } = this.#options;
    const { uid, namespace } = add.request.pod;
    // A static pod is the node's own, starts without an API server, and has another UID there.
    if (uid?.includes('-') === false) return 'not-enrolled';
    const pod = uid === undefined ? undefined : pods.knownPod(uid);
    if (pod !== undefined) return pod.enrolled ? this.#capture(add, pod) : 'not-enrolled';
    if (uid === undefined && isEnrolled(namespace))
      throw new CniError('invalid-environment', `${nameOf(add.request.pod)} ${unnamed}`);
    if (isEnrolled(namespace))
      return { wait: `the controller has not told of it${isCurrent() ? '' : ', and is not there'}` };
    if (uid === undefined || !isCurrent() || this.#waitedMs(add) >= unknownMs) return 'not-enrolled';
    return { wait: 'the controller has not told of it' };
  }

  #capture(add: Add, { uid }: NodePod): Verdict {
    const { pods, openNetns = openSandboxNetns } = this.#options;
    const { sandboxId: id, netnsPath, addresses, pod } = add.request;
    if (netnsPath === undefined || addresses.length === 0)
      throw new CniError('invalid-configuration', `${nameOf(pod)} ${unreachable}`);
    if (!add.isStarted) pods.startSandbox(uid, { id, netns: openNetns(netnsPath), addresses });
    add.isStarted = true;
    const state = pods.stateOf(uid);
    if (state?.sandbox !== id) throw tryAgain(pod, 'another sandbox took its place');
    return state.state === 'captured' ? 'captured' : { wait: state.reason ?? 'it is not captured yet' };
  }

  #waitedMs({ startedAt }: Add): number {
    return this.#options.clock.monotonic() - startedAt;
  }

  #check({ uid, ...pod }: CniPod): CniResult {
    const known = uid === undefined ? undefined : this.#options.pods.knownPod(uid);
    if (known?.enrolled !== true) return 'not-enrolled';
    const state = this.#options.pods.stateOf(known.uid);
    if (state?.state === 'captured') return 'captured';
    throw new CniError('not-captured', `${nameOf(pod)} is in the mesh and not captured: ${state?.reason}`);
  }
}

function nameOf({ namespace, name }: Omit<CniPod, 'uid'>): string {
  return `pod ${namespace}/${name}`;
}

function tryAgain(pod: CniPod, why: string): CniError {
  const message = `${nameOf(pod)} is in the mesh and does not start before it is captured, which failed: ${why}`;
  return new CniError('try-again', message);
}
