// The TLS contexts of every identity this worker serves, one for each role. A renewed certificate replaces both;
// connections made before keep the contexts they were made with.

import { TlsContext, type TlsCredentials } from '../io/tls-context.ts';
import type { SpiffeId } from '../model/spiffe-id.ts';

export interface TlsIdentity extends Disposable {
  readonly client: TlsContext;
  readonly server: TlsContext;
}

export class TlsIdentities {
  #contexts = new Map<SpiffeId, TlsIdentity>();

  get(spiffeId: SpiffeId): TlsIdentity | undefined {
    return this.#contexts.get(spiffeId);
  }

  /** @throws IoError tls-credentials-invalid; the previous contexts then stay. */
  set(spiffeId: SpiffeId, credentials: TlsCredentials): void {
    const client = new TlsContext('client', credentials);
    const server = new TlsContext('server', credentials);
    this.delete(spiffeId);
    this.#contexts.set(spiffeId, {
      client,
      server,
      [Symbol.dispose]() {
        client[Symbol.dispose]();
        server[Symbol.dispose]();
      },
    });
  }

  delete(spiffeId: SpiffeId): void {
    this.#contexts.get(spiffeId)?.[Symbol.dispose]();
    this.#contexts.delete(spiffeId);
  }

  [Symbol.dispose](): void {
    for (const spiffeId of [...this.#contexts.keys()]) this.delete(spiffeId);
  }
}
