// The controller's gRPC listener: TLS always, services added before bind, key and certificate replaced while it
// runs. Open connections keep the certificate they were made with; a pair that does not work never replaces one
// that does. Who may call is each service's own business (caller.ts).

import { createSecureContext, type SecureContextOptions } from 'node:tls';
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Clock } from '../runtime/clock.ts';
import './grpc-log.ts';
import { XdsError } from './xds-error.ts';

export interface ServerTls {
  /** PEM, PKCS#8. */
  readonly key: string;
  /** PEM, leaf first. */
  readonly certificateChain: string;
}

export interface GrpcServerOptions {
  readonly tls: ServerTls;
  /** Largest request in bytes; a reconnecting node names every resource it holds. Default 16 MiB. */
  readonly maxRequestBytes?: number;
  /** A connection is ended after about this long, so that its caller's token is checked again. Default 30 min. */
  readonly maxConnectionAgeMs?: number;
}

/**
 * A request is read before its caller's token is checked, so strangers can have this much held for each stream. A
 * node that reconnects with 100,000 workloads names each with its version: about 10 MiB.
 */
const defaultMaxRequestBytes = 16 * 1024 * 1024;
/** A peer that opens a connection and never finishes its handshake is dropped after this long. */
const handshakeTimeoutMs = 10_000;

export class GrpcServer {
  readonly #server: Server;
  readonly #credentials: ReloadableCredentials;

  /** Throws XdsError CERTIFICATE_INVALID. */
  constructor({
    tls,
    maxRequestBytes = defaultMaxRequestBytes,
    maxConnectionAgeMs = 30 * 60_000,
  }: GrpcServerOptions) {
    this.#credentials = new ReloadableCredentials(tls);
    this.#server = new Server({
      'grpc.max_receive_message_length': maxRequestBytes,
      'grpc.max_send_message_length': -1,
      'grpc.max_concurrent_streams': 256,
      // Dead nodes are noticed: the same interval as the nodes' own (WIRE 3.1).
      'grpc.keepalive_time_ms': 30_000,
      'grpc.keepalive_timeout_ms': 10_000,
      'grpc.max_connection_age_ms': maxConnectionAgeMs,
      'grpc.max_connection_age_grace_ms': Math.min(10_000, maxConnectionAgeMs),
      // A stranger who never calls keeps no connection.
      'grpc.max_connection_idle_ms': 5 * 60_000,
    });
  }

  /** Only before bind(). */
  addService(definition: ServiceDefinition, implementation: UntypedServiceImplementation): void {
    this.#server.addService(definition, implementation);
  }

  /** Listens on `host:port` (port 0: any free one) and returns the port. Throws XdsError BIND_FAILED. */
  bind(address: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, this.#credentials, (error, port) => {
        if (error === null) return resolve(port);
        const hint = 'is the port taken, or the address not of this machine?';
        reject(new XdsError('BIND_FAILED', `Listening on "${address}" failed: ${error.message}; ${hint}`));
      });
    });
  }

  /** For new connections from now on. Throws XdsError CERTIFICATE_INVALID and keeps the pair in use. */
  updateTls(tls: ServerTls): void {
    this.#credentials.update(tls);
  }

  /** No new calls; waits up to `graceMs` for open ones, then cuts them. */
  close({ clock, graceMs = 0 }: { readonly clock: Clock; readonly graceMs?: number }): Promise<void> {
    return new Promise((resolve) => {
      const timer = clock.after(graceMs, () => {
        this.#server.forceShutdown();
        resolve();
      });
      this.#server.tryShutdown(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}

/** Server credentials whose context can be replaced; grpc-js applies it to the listeners that are already bound. */
class ReloadableCredentials extends ServerCredentials {
  constructor(tls: ServerTls) {
    super({ handshakeTimeout: handshakeTimeoutMs }, secureContextOptions(tls));
  }

  update(tls: ServerTls): void {
    this.updateSecureContextOptions(secureContextOptions(tls));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

function secureContextOptions({ key, certificateChain }: ServerTls): SecureContextOptions {
  const options: SecureContextOptions = { key, cert: certificateChain, minVersion: 'TLSv1.3' };
  try {
    // grpc-js closes the listener to everybody when it is given a pair that does not work, so try it first.
    createSecureContext(options);
  } catch (error) {
    const hint = 'do the key and the certificate belong together, and are both PEM?';
    throw new XdsError(
      'CERTIFICATE_INVALID',
      `Using the server certificate failed: ${(error as Error).message}; ${hint}`,
      { cause: error },
    );
  }
  return options;
}
