// A captured pod as a data worker holds it: its listeners, its identity and the way to make sockets in its network
// namespace. Closing it lets go of the namespace, which the kernel keeps alive as long as one socket of it is open.

import type { FlowMaps } from '../bpf/flow-maps.ts';
import type { BufferBudget } from '../mesh/io/byte-queue.ts';
import { IoError } from '../mesh/io/io-error.ts';
import * as libc from '../mesh/io/libc.ts';
import { bindSource, configureConnection, configureLocalConnection } from '../mesh/io/socket.ts';
import { familyOf, type SocketAddress } from '../mesh/io/socket-address.ts';
import type { TcpListener } from '../mesh/io/tcp-listener.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import { formatSpiffeId, type Identity, identityOf, type SpiffeId } from '../mesh/model/spiffe-id.ts';
import { SocketStash } from './socket-stash.ts';

/** A pod's listeners as a worker serves them. */
export interface PodServers {
  /** Outbound and plaintext: what only capture leads to. */
  readonly capture: readonly TcpListener[];
  readonly hbone: readonly TcpListener[];
}

export class CapturedPod {
  readonly pod: NodePod;
  readonly identity: Identity;
  readonly spiffeId: SpiffeId;
  /** What its slow readers may hold, and those of whom it sends to: its share of the worker's. */
  readonly budget: BufferBudget;
  #flowMaps: FlowMaps;
  #netns: number;
  #sockets: SocketStash;
  #listeners: PodServers = { capture: [], hbone: [] };
  #open = true;

  /** @param netns descriptor of the pod's network namespace, which is this object's from here on */
  constructor(
    pod: NodePod,
    netns: number,
    { flowMaps, budget }: { readonly flowMaps: FlowMaps; readonly budget: BufferBudget },
  ) {
    this.pod = pod;
    this.budget = budget;
    this.identity = identityOf(pod);
    this.spiffeId = formatSpiffeId(this.identity);
    this.#flowMaps = flowMaps;
    this.#netns = netns;
    this.#sockets = new SocketStash(this.#netns);
  }

  get open(): boolean {
    return this.#open;
  }

  listen(listeners: PodServers): void {
    this.#listeners = listeners;
  }

  get listening(): boolean {
    return this.#listeners.capture.length + this.#listeners.hbone.length > 0;
  }

  /** The pod's own address of the family of `remote`. @throws IoError bind-failed when it has none. */
  addressToward(remote: IpAddress): IpAddress {
    const family = familyOf(remote);
    const own = this.pod.addresses.find((address) => familyOf(address) === family);
    if (own === undefined) {
      throw new IoError('bind-failed', `Pod ${this.pod.name} has no address to reach ${remote} from`);
    }
    return own;
  }

  /** A socket of the pod toward `remote` that the redirect leaves alone. @throws IoError */
  createSocket(remote: IpAddress): number {
    const source = this.addressToward(remote);
    return this.#makeSocket(source, (fd) => {
      configureConnection(fd);
      bindSource(fd, { address: source, port: 0 });
      this.#flowMaps.exempt(fd);
    });
  }

  /** As `createSocket`, for the hop to the application itself, which is to see `client` as its peer. @throws IoError */
  createLastHop(target: IpAddress, client: SocketAddress): number {
    return this.#makeSocket(target, (fd) => {
      configureLocalConnection(fd);
      // A pod's only address of a family is the source the kernel takes for it by itself.
      if (!this.#isOnly(target)) bindSource(fd, { address: target, port: 0 });
      this.#flowMaps.exemptWithPeer(fd, client.address, client.port);
    });
  }

  /** Capture has ended: serves what it has led here, then only tunnels. Idempotent. */
  stopCapturing(): void {
    const { capture, hbone } = this.#listeners;
    this.#listeners = { capture: [], hbone };
    for (const listener of capture) listener.finish();
  }

  /** No new connections but those that wait already; sockets for open ones can still be made. Idempotent. */
  stopListening(): void {
    this.stopCapturing();
    const { hbone } = this.#listeners;
    this.#listeners = { capture: [], hbone: [] };
    for (const listener of hbone) listener.finish();
  }

  /** Idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const listener of [...this.#listeners.capture, ...this.#listeners.hbone]) listener.close();
    this.#listeners = { capture: [], hbone: [] };
    this.#sockets.close();
    // Opened by the main thread: Node's own close would warn of a descriptor it has not opened in this one.
    libc.close(this.#netns);
  }

  #isOnly(address: IpAddress): boolean {
    const family = familyOf(address);
    return this.pod.addresses.every((other) => other === address || familyOf(other) !== family);
  }

  #makeSocket(source: IpAddress, prepare: (fd: number) => void): number {
    if (!this.#open) throw new IoError('closed', `Pod ${this.pod.name} is gone`);
    const fd = this.#sockets.take(familyOf(source));
    try {
      prepare(fd);
      return fd;
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }
}
