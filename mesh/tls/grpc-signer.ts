// A CertificateSigner over gRPC: istio.v1.auth.IstioCertificateService, so the other side may be our controller or
// istiod. One call a request, no retry of its own: CertificateManager waits and asks again. The connection is kept
// while it works and made anew after a failure, with roots and token read again.

import { create } from '@bufbuild/protobuf';
import { type Client, type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type { HostPort } from '../model/ip-address.ts';
import type { Clock } from '../runtime/clock.ts';
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  type IstioCertificateResponse,
} from '../xds/gen/istio/v1/auth/ca_pb.ts';
import { bearerMetadata } from '../xds/bearer-metadata.ts';
import { openChannel, parseControllerAddress } from '../xds/grpc-channel.ts';
import { CertificateError } from './certificate-error.ts';
import { certificateService, impersonatedIdentityKey } from './certificate-service-definition.ts';
import type { CertificateSigner, SignOptions } from './certificate-signer.ts';

/** As for the discovery client (xds/client.ts), which usually talks to the same controller. */
export interface GrpcSignerOptions {
  /** `host:port` or `https://host:port`. */
  readonly address: string;
  /** PEM; read again for each connection. */
  readonly rootCertificates: () => string;
  /** A second name that the server's certificate may have. */
  readonly serverName?: string;
  /** Read again for each request. */
  readonly token: () => string | undefined;
  readonly clusterId: string;
  readonly clock: Clock;
  /** Longest wait for one answer in ms; default 10 s. */
  readonly timeoutMs?: number;
}

const { path, requestSerialize, responseDeserialize } = certificateService.createCertificate;

/** Statuses after which asking again is of no use until somebody changes something. */
const refusals = new Set<status>([
  status.INVALID_ARGUMENT,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.UNIMPLEMENTED,
]);

export class GrpcSigner implements CertificateSigner {
  readonly #options: GrpcSignerOptions;
  readonly #address: HostPort;
  readonly #timeoutMs: number;
  #client: Client | undefined;
  /** What `#client` was opened with. */
  #clientRoots = '';
  #closed = false;

  /** Throws XdsError ADDRESS_INVALID. */
  constructor(options: GrpcSignerOptions) {
    this.#options = options;
    this.#address = parseControllerAddress(options.address);
    this.#timeoutMs = options.timeoutMs ?? 10_000;
  }

  async sign(csrPem: string, options: SignOptions): Promise<readonly string[]> {
    const { validitySeconds, impersonate, signal } = options;
    const request = create(IstioCertificateRequestSchema, {
      csr: csrPem,
      validityDuration: BigInt(Math.round(validitySeconds)),
      ...(impersonate && { metadata: { [impersonatedIdentityKey]: impersonate } }),
    });
    const { client, metadata } = this.#prepare();
    try {
      return (await this.#call(client, { request, metadata, signal })).certChain;
    } catch (error) {
      throw this.#failed(client, error as ServiceError, signal);
    }
  }

  /** Ends the connection; calls under way fail. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#client?.close();
    this.#client = undefined;
  }

  #prepare(): { readonly client: Client; readonly metadata: Metadata } {
    const { rootCertificates, serverName } = this.#options;
    if (this.#closed) throw this.#error('signer-unavailable', 'this node is shutting down');
    try {
      const metadata = bearerMetadata(this.#options.token(), this.#options.clusterId);
      return { client: this.#clientWith(rootCertificates(), serverName), metadata };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw this.#error('signer-unavailable', `using the roots or the token failed: ${why}`, error);
    }
  }

  /** Other roots need another connection, before this one breaks on a server certificate it does not know. */
  #clientWith(roots: string, serverName: string | undefined): Client {
    if (this.#client !== undefined && this.#clientRoots === roots) return this.#client;
    const client = openChannel({ address: this.#address, rootCertificates: roots, serverName });
    // Calls under way on the old one still get their answers.
    this.#client?.close();
    this.#client = client;
    this.#clientRoots = roots;
    return client;
  }

  #call(client: Client, { request, metadata, signal }: CallOptions): Promise<IstioCertificateResponse> {
    return new Promise((resolve, reject) => {
      const deadline = this.#options.clock.now() + this.#timeoutMs;
      const call = client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        { deadline },
        (error, response) => {
          signal?.removeEventListener('abort', cancel);
          if (error === null && response !== undefined) resolve(response);
          else reject(error ?? new Error('no reply'));
        },
      );
      function cancel(): void {
        call.cancel();
      }
      if (signal?.aborted) cancel();
      else signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  #failed(client: Client, error: ServiceError, signal: AbortSignal | undefined): CertificateError {
    const why = `${status[error.code] ?? 'INTERNAL'}: ${error.details ?? error.message}`;
    if (refusals.has(error.code)) return this.#error('signer-refused', why, error);
    if (!signal?.aborted && this.#client === client) {
      client.close();
      this.#client = undefined;
    }
    return this.#error('signer-unavailable', why, error);
  }

  #error(code: 'signer-refused' | 'signer-unavailable', why: string, cause?: unknown): CertificateError {
    const message = `Asking the certificate service at "${this.#options.address}" for a certificate failed: ${why}`;
    return new CertificateError(code, message, { cause });
  }
}

interface CallOptions {
  readonly request: IstioCertificateRequest;
  readonly metadata: Metadata;
  readonly signal: AbortSignal | undefined;
}
