// Keeps the CA's state in a Secret, for replicas that share one root. Every write names the version it was made from, so
// of two replicas that write at once one is told to look again; no step of a rotation is lost or taken twice.

import { z } from 'zod';
import type { KubeClient } from '../kubernetes/kube-client.ts';
import { KubeError } from '../kubernetes/kube-error.ts';
import { CaError } from './ca-error.ts';
import { type CaState, caStateSchema } from './ca-state.ts';
import type { LoadedState } from './ca-state-file.ts';
import type { CaStateStore } from './ca-state-store.ts';
import { readRoot } from './root-certificate.ts';

export interface CaStateSecretOptions {
  readonly client: Pick<KubeClient, 'request'>;
  readonly namespace: string;
  /** Default `weft-ca`. */
  readonly name?: string;
}

interface Secret {
  readonly metadata: { readonly resourceVersion?: string };
  readonly data?: Readonly<Record<string, string>> | null;
}

const dataKey = 'ca.json';

export class CaStateSecret implements CaStateStore {
  readonly place: string;
  readonly #client: Pick<KubeClient, 'request'>;
  readonly #namespace: string;
  readonly #name: string;
  #version: string | undefined;

  constructor({ client, namespace, name = 'weft-ca' }: CaStateSecretOptions) {
    this.#client = client;
    this.#namespace = namespace;
    this.#name = name;
    this.place = `secret ${namespace}/${name}`;
  }

  async load(): Promise<LoadedState | undefined> {
    const secret = await this.#guard(async () => {
      try {
        return await this.#client.request<Secret>({ path: `${this.#collection}/${this.#name}` });
      } catch (error) {
        if (error instanceof KubeError && error.code === 'NOT_FOUND') return undefined;
        throw error;
      }
    });
    if (secret === undefined) return undefined;
    const loaded = this.#read(secret);
    this.#version = secret.metadata.resourceVersion;
    return loaded;
  }

  async create(state: CaState): Promise<LoadedState> {
    return await this.#write('POST', this.#collection, state);
  }

  async save(state: CaState): Promise<LoadedState> {
    return await this.#write('PUT', `${this.#collection}/${this.#name}`, state);
  }

  async #write(method: 'POST' | 'PUT', path: string, state: CaState): Promise<LoadedState> {
    const version = method === 'PUT' ? { resourceVersion: this.#version } : {};
    const body = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'weft.dev/ca',
      metadata: {
        name: this.#name,
        namespace: this.#namespace,
        labels: { 'app.kubernetes.io/part-of': 'weft' },
        ...version,
      },
      data: { [dataKey]: Buffer.from(JSON.stringify(state)).toString('base64') },
    };
    const written = await this.#guard(() => this.#client.request<Secret>({ method, path, body }));
    this.#version = written.metadata.resourceVersion;
    return { state, roots: state.roots.map(readRoot) };
  }

  #read({ data }: Secret): LoadedState {
    try {
      const text = Buffer.from(data?.[dataKey] ?? '', 'base64').toString('utf8');
      const state: CaState = caStateSchema.parse(JSON.parse(text));
      return { state, roots: state.roots.map(readRoot) };
    } catch (error) {
      // A JSON error would quote the text, and with it a private key.
      const isJson = !(error instanceof SyntaxError);
      const why =
        error instanceof z.ZodError ? z.prettifyError(error) : isJson ? String(error) : 'it is not JSON';
      throw new CaError(
        'state-corrupt',
        `Root certificate in ${this.place} is corrupt: ${why}. Restore it from a backup; if there is none, delete the secret to start with a new root`,
      );
    }
  }

  async #guard<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      const isConflict = error instanceof KubeError && error.code === 'CONFLICT';
      const why = error instanceof Error ? error.message : String(error);
      throw new CaError(isConflict ? 'state-conflict' : 'state-file', `Using ${this.place} failed: ${why}`, {
        cause: error,
      });
    }
  }

  get #collection(): string {
    return `/api/v1/namespaces/${this.#namespace}/secrets`;
  }
}
