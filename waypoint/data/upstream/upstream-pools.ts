// All connections of a worker to endpoints, found by endpoint, address, port and version without making a key. Follows
// the model: what an endpoint no longer is, ends when its requests have.

import type { ByteTransport } from '../../../mesh/http/byte-transport.ts';
import type { HttpClientConnection } from '../../../mesh/http/connection.ts';
import type { Reactor } from '../../../mesh/io/reactor.ts';
import type { WorkloadUid } from '../../../mesh/model/workload.ts';
import type { Timer } from '../../../mesh/runtime/clock.ts';
import type { EndpointAddress, UpstreamProtocol } from './endpoint-address.ts';
import type { EndpointDialer } from './endpoint-dialer.ts';
import { EndpointPool } from './endpoint-pool.ts';
import type { PooledConnection } from './pooled-connection.ts';

export interface UpstreamPoolsOptions {
  readonly dialer: EndpointDialer;
  readonly idleTimeoutMs: number;
  readonly maxConnectionsPerEndpoint: number;
  readonly makeConnection: (
    protocol: UpstreamProtocol,
    transport: ByteTransport,
    handler: PooledConnection,
  ) => HttpClientConnection;
}

export class UpstreamPools {
  #reactor: Reactor;
  #options: UpstreamPoolsOptions;
  #pools = new Map<WorkloadUid, EndpointPool[]>();
  #sweep: Timer | undefined;

  constructor(reactor: Reactor, options: UpstreamPoolsOptions) {
    this.#reactor = reactor;
    this.#options = options;
  }

  /** Connections to all endpoints, those being made included. */
  get connections(): number {
    let count = 0;
    for (const pools of this.#pools.values()) for (const pool of pools) count += pool.size;
    return count;
  }

  poolFor(target: EndpointAddress, protocol: UpstreamProtocol): EndpointPool {
    const pools = this.#pools.get(target.uid);
    if (pools !== undefined) {
      for (let at = 0; at < pools.length; at++) {
        const pool = pools[at] as EndpointPool;
        if (pool.protocol === protocol && samePlace(pool.target, target)) return toFront(pools, at);
      }
    }
    const made = this.#make(target, protocol);
    if (pools === undefined) this.#pools.set(target.uid, [made]);
    else pools.push(made);
    this.#watchIdle();
    return made;
  }

  /** Of an endpoint that is gone, or all. */
  drain(uid?: WorkloadUid): void {
    const lists = uid === undefined ? [...this.#pools.values()] : [this.#pools.get(uid) ?? []];
    for (const pools of lists) for (const pool of pools) pool.drain();
  }

  /** Connections made under an identity that was renewed. */
  drainTunnelled(): void {
    for (const pools of this.#pools.values())
      for (const pool of pools) if (pool.target.expected !== undefined) pool.drain();
  }

  destroy(reason: string): void {
    this.#sweep?.cancel();
    for (const pools of [...this.#pools.values()]) for (const pool of [...pools]) pool.destroy(reason);
    this.#pools.clear();
  }

  #make(target: EndpointAddress, protocol: UpstreamProtocol): EndpointPool {
    const { dialer, maxConnectionsPerEndpoint: maxConnections, makeConnection } = this.#options;
    return new EndpointPool(this.#reactor, target, {
      dialer,
      protocol,
      maxConnections,
      makeConnection: (transport, handler) => makeConnection(protocol, transport, handler),
    });
  }

  // One timer for all of them: a connection lives at most a quarter longer than it should.
  #watchIdle(): void {
    const { idleTimeoutMs } = this.#options;
    this.#sweep ??= this.#reactor.after(Math.ceil(idleTimeoutMs / 4), () => {
      this.#sweep = undefined;
      const before = this.#reactor.now - idleTimeoutMs;
      for (const [uid, pools] of this.#pools) {
        for (const pool of pools) pool.closeIdle(before);
        const used = pools.filter((pool) => pool.size + pool.waiting > 0);
        if (used.length === 0) this.#pools.delete(uid);
        else if (used.length < pools.length) this.#pools.set(uid, used);
      }
      if (this.#pools.size > 0) this.#watchIdle();
    });
  }
}

/** Who asks a workload for all of its ports in turn shall not make those that are used hard to find. */
function toFront(pools: EndpointPool[], at: number): EndpointPool {
  const found = pools[at] as EndpointPool;
  if (at > 0) {
    pools[at] = pools[0] as EndpointPool;
    pools[0] = found;
  }
  return found;
}

function samePlace(a: EndpointAddress, b: EndpointAddress): boolean {
  return a.port === b.port && a.address === b.address && sameIdentities(a.expected, b.expected);
}

function sameIdentities(a: EndpointAddress['expected'], b: EndpointAddress['expected']): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined || a.length !== b.length) return false;
  return a.every((id, i) => id === b[i]);
}
