// Which service accounts run on which node, from the current model: what the certificate service may grant to a node.
// Only captured pods count, those that are about to start too; an endpoint without a node (a machine of its own) is
// nobody's to ask for here.

import type { Model } from '../mesh/model/model.ts';
import { formatPrincipal, type Identity, identityOf } from '../mesh/model/spiffe-id.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import type { PodsOnNode } from './identity/certificate-service.ts';

interface Waiter {
  readonly node: string;
  readonly identity: Identity;
  finish(found: boolean): void;
}

export class ModelPodsOnNode implements PodsOnNode {
  readonly #clock: Clock;
  readonly #waiters = new Set<Waiter>();
  #principals: ReadonlyMap<string, ReadonlySet<string>> = new Map();

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  /** Takes over a new model; answers everybody who waits for a pod of it. */
  update(model: Model): void {
    const principals = new Map<string, Set<string>>();
    const grant = (holder: Identity & { readonly node: string }): void => {
      const principal = formatPrincipal(identityOf(holder));
      const known = principals.get(holder.node);
      if (known === undefined) principals.set(holder.node, new Set([principal]));
      else known.add(principal);
    };
    for (const workload of model.workloads.values()) {
      if (workload.tunnelProtocol === 'hbone' && workload.node !== '') grant(workload);
    }
    for (const pod of model.pods.values()) if (pod.enrolled) grant(pod);
    this.#principals = principals;
    for (const waiter of this.#waiters) {
      if (this.hasServiceAccount(waiter.node, waiter.identity)) waiter.finish(true);
    }
  }

  hasServiceAccount(node: string, identity: Identity): boolean {
    return this.#principals.get(node)?.has(formatPrincipal(identity)) ?? false;
  }

  /** The caller bounds how many wait: the certificate service takes a limited number of requests a node. */
  waitFor(node: string, identity: Identity, timeoutMs: number): Promise<boolean> {
    if (this.hasServiceAccount(node, identity)) return Promise.resolve(true);
    return new Promise((resolve) => {
      const finish = (found: boolean) => {
        timer.cancel();
        this.#waiters.delete(waiter);
        resolve(found);
      };
      const waiter: Waiter = { node, identity, finish };
      const timer = this.#clock.after(timeoutMs, () => finish(false));
      this.#waiters.add(waiter);
    });
  }

  /** Answers everybody who waits with no. */
  close(): void {
    for (const waiter of this.#waiters) waiter.finish(false);
  }
}
