// Controllers in the process of the test, each with a state directory of its own, on one API server.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Controller, type ControllerPorts, rootCertificatePath } from '../../controller/app.ts';
import { parseControllerConfig } from '../../controller/config.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import type { ShopServer } from './shop-server.ts';

export interface Running {
  readonly controller: Controller;
  readonly ports: ControllerPorts;
  readonly state: string;
}

export class RunningControllers {
  readonly #shop: ShopServer;
  readonly #running: Running[] = [];

  constructor(shop: ShopServer) {
    this.#shop = shop;
  }

  /** Resolves when it serves. */
  async start(): Promise<Running> {
    const { kubeconfig, directory } = this.#shop.server;
    const state = join(directory, `state-${randomUUID()}`);
    const flags = { kubeconfig, state, address: '127.0.0.1:0', admin: '127.0.0.1:0', 'log-level': 'silent' };
    const parsed = parseControllerConfig(flags);
    if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
    const controller = new Controller(parsed.config, { clock: systemClock });
    const started = { controller, ports: await controller.start(), state };
    this.#running.push(started);
    return started;
  }

  /** Who holds the lease; empty if nobody does. */
  async leader(): Promise<string> {
    const path = '/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/weft-controller';
    const lease = await this.#shop.client
      .request<{ spec?: { holderIdentity?: string } }>({ path })
      .catch(() => undefined);
    return lease?.spec?.holderIdentity ?? '';
  }

  async stop(): Promise<void> {
    for (const { controller } of this.#running.splice(0)) await controller.stop();
  }
}

/** PEM of the roots that a controller trusts. */
export async function rootOf({ state }: Running): Promise<string> {
  return await readFile(rootCertificatePath(state), 'utf8');
}
