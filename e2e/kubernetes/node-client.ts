// A node as the controller sees it: one configuration stream and a certificate client, with the node tunnel's own code
// and a ServiceAccount token. Counts how often its stream was lost.

import { formatSpiffeId, type Identity } from '../../mesh/model/spiffe-id.ts';
import type { Workload } from '../../mesh/model/workload.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { createCsr } from '../../mesh/tls/csr.ts';
import { GrpcSigner } from '../../mesh/tls/grpc-signer.ts';
import { XdsClient, type XdsClientState } from '../../mesh/xds/client.ts';

export interface NodeClientOptions {
  readonly port: number;
  /** PEM. */
  readonly roots: string;
  readonly token: string;
}

export class NodeClient {
  readonly workloads = new Map<string, Workload>();
  /** By uid: how often a workload was told. */
  readonly told = new Map<string, number>();
  readonly policies = new Set<string>();
  readonly #synced = Promise.withResolvers<void>();
  synced = false;
  state: XdsClientState = 'connecting';
  /** Reasons of streams that ended. */
  readonly lost: string[] = [];
  readonly #xds: XdsClient;
  readonly #signer: GrpcSigner;

  constructor({ port, roots, token }: NodeClientOptions) {
    const common = {
      address: `127.0.0.1:${port}`,
      rootCertificates: () => roots,
      token: () => token,
      clusterId: 'Kubernetes',
      clock: systemClock,
    };
    this.#signer = new GrpcSigner(common);
    this.#xds = new XdsClient(
      {
        ...common,
        node: { id: 'test', metadata: {} },
        mode: 'wildcard',
        logger: createLogger({ component: 'node', level: 'silent' }),
      },
      {
        onDelta: ({ workloads, policies, removed }) => {
          for (const workload of workloads) {
            const { uid } = workload;
            this.workloads.set(uid, workload);
            this.told.set(uid, (this.told.get(uid) ?? 0) + 1);
          }
          for (const uid of removed.workloads) this.workloads.delete(uid);
          for (const { key } of policies) this.policies.add(key);
          for (const key of removed.policies) this.policies.delete(key);
        },
        onSynced: () => {
          this.synced = true;
          this.#synced.resolve();
        },
        onState: (state, reason) => {
          this.state = state;
          if (state === 'disconnected') this.lost.push(reason ?? '');
        },
      },
    );
    this.#xds.start();
  }

  /** Resolves when it was told everything once. */
  whenSynced(): Promise<void> {
    return this.#synced.promise;
  }

  hasWorkload(name: string): boolean {
    return this.workload(name) !== undefined;
  }

  workload(name: string): Workload | undefined {
    return [...this.workloads.values()].find((workload) => workload.name === name);
  }

  /** Addresses of a workload, `''` while it is not there or has none. */
  addressesOf(name: string): string {
    return (this.workload(name)?.addresses ?? []).join();
  }

  /** The certificate, leaf first, then the roots. Rejects with CertificateError. */
  async sign(identity: Identity): Promise<readonly string[]> {
    const { csrPem } = await createCsr(identity);
    return await this.#signer.sign(csrPem, {
      validitySeconds: 3_600,
      impersonate: formatSpiffeId(identity),
    });
  }

  close(): void {
    this.#xds.close();
    this.#signer.close();
  }
}
