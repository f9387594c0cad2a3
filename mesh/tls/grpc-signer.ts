// A CertificateSigner over gRPC: istio.v1.auth.IstioCertificateService, so the other side may be our controller or
// istiod. One call a request, no retry of its own: CertificateManager waits and asks again.

import { create } from '@bufbuild/protobuf';
import { type ChannelCredentials, Client, type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type { Clock } from '../runtime/clock.ts';
import {
  type IstioCertificateResponse,
  IstioCertificateRequestSchema,
} from '../xds/gen/istio/v1/auth/ca_pb.ts';
import { CertificateError } from './certificate-error.ts';
import { certificateServiceDefinition, impersonatedIdentityKey } from './certificate-service-definition.ts';
import type { CertificateSigner, SignOptions } from './certificate-signer.ts';

export interface GrpcSignerOptions {
  /** `host:port`. */
  readonly address: string;
  /** TLS to the roots that the operator gave; the token must never travel in plaintext. */
  readonly credentials: ChannelCredentials;
  /** Called for each request, because a token file may be replaced: `authorization`, `clusterid`. */
  readonly metadata: () => Metadata | Promise<Metadata>;
  readonly clock: Clock;
  /** Longest wait for one answer in ms; default 10 s. */
  readonly timeoutMs?: number;
}

const { path, requestSerialize, responseDeserialize } = certificateServiceDefinition.createCertificate;

/** Statuses after which asking again is of no use until somebody changes something. */
const refusals = new Set<status>([
  status.INVALID_ARGUMENT,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.UNIMPLEMENTED,
]);

export class GrpcSigner implements CertificateSigner {
  readonly #address: string;
  readonly #client: Client;
  readonly #metadata: () => Metadata | Promise<Metadata>;
  readonly #clock: Clock;
  readonly #timeoutMs: number;

  constructor({ address, credentials, metadata, clock, timeoutMs = 10_000 }: GrpcSignerOptions) {
    this.#address = address;
    this.#client = new Client(address, credentials);
    this.#metadata = metadata;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  async sign(
    csrPem: string,
    { validitySeconds, impersonate, signal }: SignOptions,
  ): Promise<readonly string[]> {
    const request = create(IstioCertificateRequestSchema, {
      csr: csrPem,
      validityDuration: BigInt(Math.round(validitySeconds)),
      ...(impersonate && { metadata: { [impersonatedIdentityKey]: impersonate } }),
    });
    const metadata = await this.#callMetadata();
    const reply = await new Promise<IstioCertificateResponse>((resolve, reject) => {
      if (signal?.aborted) return reject(this.#error(undefined));
      const options = { deadline: this.#clock.now() + this.#timeoutMs };
      const call = this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        options,
        (error, response) => {
          signal?.removeEventListener('abort', cancel);
          if (error !== null || response === undefined) reject(this.#error(error ?? undefined));
          else resolve(response);
        },
      );
      function cancel(): void {
        call.cancel();
      }
      signal?.addEventListener('abort', cancel, { once: true });
    });
    return reply.certChain;
  }

  /** Ends the connection; calls under way fail. */
  close(): void {
    this.#client.close();
  }

  async #callMetadata(): Promise<Metadata> {
    try {
      return await this.#metadata();
    } catch (error) {
      throw new CertificateError(
        'signer-unavailable',
        `Reading the token for the certificate service at "${this.#address}" failed`,
        { cause: error },
      );
    }
  }

  #error(error: ServiceError | undefined): CertificateError {
    const code = error !== undefined && refusals.has(error.code) ? 'signer-refused' : 'signer-unavailable';
    const why = error === undefined ? 'the call was cancelled' : `${status[error.code]}: ${error.details}`;
    return new CertificateError(
      code,
      `Asking the certificate service at "${this.#address}" for a certificate failed: ${why}`,
      { cause: error },
    );
  }
}
