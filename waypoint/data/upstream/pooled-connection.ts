// One HTTP connection to an endpoint, as its pool sees it.

import type { HttpClientConnection, HttpClientHandler } from '../../../mesh/http/connection.ts';

export interface ConnectionOwner {
  onAvailable(connection: PooledConnection): void;
  onRetired(connection: PooledConnection): void;
  onClosed(connection: PooledConnection): void;
}

export class PooledConnection implements HttpClientHandler {
  /** Set by whoever makes it, at once. */
  http!: HttpClientConnection;
  /** Requests it was given; more than 1 means that a sudden end may just be a stale connection. */
  served = 0;
  /** When it last became free, reactor ms. */
  idleSinceMs = 0;
  /** When a response last began on it, reactor ms. */
  heardMs = 0;
  /** Waits in its pool's list of free ones. */
  idle = false;
  /** Takes no further requests. */
  retired = false;
  #owner: ConnectionOwner;
  #released: () => void;

  /** @param released tells whoever made the transport that it has ended */
  constructor(owner: ConnectionOwner, released: () => void) {
    this.#owner = owner;
    this.#released = released;
  }

  onAvailable(): void {
    this.#owner.onAvailable(this);
  }

  onRetired(): void {
    this.retired = true;
    this.#owner.onRetired(this);
  }

  onClosed(): void {
    this.retired = true;
    this.#released();
    this.#owner.onClosed(this);
  }

  /** No further requests; ends when those under way have. Idempotent. */
  drain(): void {
    this.retired = true;
    this.http.drain();
  }
}
