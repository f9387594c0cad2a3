// What a worker tells the main thread about pods of this node that talk to each other: each pair once a second at most,
// because a pair that can not leave the proxy keeps coming. Bounded; forgetting a pair only means that it is told again.

import { formatHostPort } from '../mesh/model/ip-address.ts';
import type { ProvenConnection } from './same-node.ts';

const quietMs = 1_000;
const maxPairs = 4_096;

export class ProvenPairs {
  #now: () => number;
  #tell: (connection: ProvenConnection) => void;
  /** When a pair was told, monotonic ms. */
  #told = new Map<string, number>();

  constructor(options: {
    readonly now: () => number;
    readonly tell: (connection: ProvenConnection) => void;
  }) {
    this.#now = options.now;
    this.#tell = options.tell;
  }

  proven(connection: ProvenConnection): void {
    const { source, destination, endpoint } = connection;
    const key = `${source} ${endpoint} ${formatHostPort(destination.address, destination.port)}`;
    const now = this.#now();
    const told = this.#told.get(key);
    if (told !== undefined && now - told < quietMs) return;
    if (this.#told.size >= maxPairs) this.#told.clear();
    this.#told.set(key, now);
    this.#tell(connection);
  }
}
