// The certificate service: istio.v1.auth.IstioCertificateService/CreateCertificate (WIRE 4). Decides who may have which
// identity: the token says who calls; a node may ask only for service accounts of pods that run on it now, a waypoint
// only for its own.
// Each request ends in exactly one log line and one count.

import { create } from '@bufbuild/protobuf';
import { type handleUnaryCall, type sendUnaryData, type ServerUnaryCall, status } from '@grpc/grpc-js';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import { formatSpiffeId, type Identity, parseSpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import {
  certificateService,
  impersonatedIdentityKey,
} from '../../mesh/tls/certificate-service-definition.ts';
import {
  type IstioCertificateRequest,
  type IstioCertificateResponse,
  IstioCertificateResponseSchema,
} from '../../mesh/xds/gen/istio/v1/auth/ca_pb.ts';
import type { GrpcServer } from '../../mesh/xds/grpc-server.ts';
import { CaError, type CaErrorCode } from '../ca/ca-error.ts';
import type { CertificateAuthority } from '../ca/certificate-authority.ts';
import {
  type AuthenticatedCaller,
  type AuthenticationFailureCode,
  type Authenticator,
  ownerOf,
} from './authenticator.ts';

/** Which pods run where, as the controller knows it now. */
export interface PodsOnNode {
  hasServiceAccount(node: string, identity: Identity): boolean;
  /** True as soon as `hasServiceAccount` is, false after `timeoutMs`. Must not reject. */
  waitFor(node: string, identity: Identity, timeoutMs: number): Promise<boolean>;
}

/** The waypoints there are, as the controller knows it now. */
export interface Waypoints {
  /** Undefined for a waypoint without a Gateway. */
  identityOf(gateway: GatewayKey): Identity | undefined;
}

export type CertificateRequestResult =
  | 'issued'
  | 'identity-missing'
  | 'identity-malformed'
  | 'identity-not-on-node'
  | 'identity-not-own'
  | 'gateway-unknown'
  | 'too-many-requests'
  | 'cancelled'
  | 'internal'
  | AuthenticationFailureCode
  | CaErrorCode;

/** A prom-client Counter with the label `result` fits. */
export interface CertificateRequestCounter {
  inc(labels: { readonly result: CertificateRequestResult }): void;
}

export interface CertificateServiceOptions {
  readonly authority: CertificateAuthority;
  readonly authenticator: Authenticator;
  readonly pods: PodsOnNode;
  readonly waypoints: Waypoints;
  readonly logger: Logger;
  readonly counter: CertificateRequestCounter;
  /** How long a request waits for a pod that the controller has not heard of yet, in ms; default 2,000. */
  readonly podWaitMs?: number;
  /** Requests of one caller under way at once; default 64. A node tunnel has 8. */
  readonly maxParallelPerCaller?: number;
}

interface Refusal {
  readonly result: CertificateRequestResult;
  readonly status: status;
  /** For the log. */
  readonly message: string;
  /** For the caller: nothing of our inside, nothing to who has not shown who it is. */
  readonly told: string;
}

type Outcome =
  | {
      readonly ok: true;
      readonly entries: readonly string[];
      readonly serial: string;
      readonly notAfter: number;
    }
  | ({ readonly ok: false } & Refusal);

type Call = ServerUnaryCall<IstioCertificateRequest, IstioCertificateResponse>;

/** What is known of a request when it is logged. */
interface Subject {
  peer: string;
  caller?: AuthenticatedCaller;
  identity?: string;
}

const invalidArgument = new Set<CaErrorCode>([
  'csr-too-large',
  'csr-malformed',
  'csr-signature-invalid',
  'csr-key-unsupported',
  'csr-key-weak',
  'identity-invalid',
]);

const internalDetails = "Internal error; the controller's log has the reason";

/** Adds the service to a server; tokens travel in its metadata, so the server must speak TLS. */
export function addCertificateService(
  server: Pick<GrpcServer, 'addService'>,
  options: CertificateServiceOptions,
): void {
  const service = new CertificateService(options);
  const createCertificate: handleUnaryCall<IstioCertificateRequest, IstioCertificateResponse> = (
    call,
    callback,
  ) => void service.createCertificate(call, callback);
  server.addService(certificateService, { createCertificate });
}

class CertificateService {
  readonly #options: CertificateServiceOptions;
  readonly #podWaitMs: number;
  readonly #maxParallelPerCaller: number;
  readonly #underWay = new Map<string, number>();

  constructor(options: CertificateServiceOptions) {
    this.#options = options;
    this.#podWaitMs = options.podWaitMs ?? 2000;
    this.#maxParallelPerCaller = options.maxParallelPerCaller ?? 64;
  }

  /** Never rejects. */
  async createCertificate(call: Call, callback: sendUnaryData<IstioCertificateResponse>): Promise<void> {
    const subject: Subject = { peer: call.getPeer() };
    const outcome = await this.#outcome(call, subject).catch(internal);
    this.#report(subject, outcome);
    if (outcome.ok)
      callback(null, create(IstioCertificateResponseSchema, { certChain: [...outcome.entries] }));
    else callback({ code: outcome.status, details: outcome.told });
  }

  async #outcome(call: Call, subject: Subject): Promise<Outcome> {
    const [authorization, second] = call.metadata.get('authorization');
    const only = second === undefined ? authorization?.toString() : undefined;
    const authentication = await this.#options.authenticator.authenticate(only);
    if (!authentication.ok) {
      const { code, reason } = authentication;
      // A record that cannot be read is not the caller's fault: it shall come again.
      const answer = code === 'token-record-unusable' ? status.UNAVAILABLE : status.UNAUTHENTICATED;
      return refuse(code, answer, reason, `Token refused: ${code}`);
    }
    const { caller } = authentication;
    subject.caller = caller;
    return await this.#limited(ownerOf(caller), () => this.#issue(call, caller, subject));
  }

  async #limited(caller: string, run: () => Promise<Outcome>): Promise<Outcome> {
    const underWay = this.#underWay.get(caller) ?? 0;
    if (underWay >= this.#maxParallelPerCaller) {
      const message = `"${caller}" has ${underWay} certificate requests under way; ask again later`;
      return refuse('too-many-requests', status.RESOURCE_EXHAUSTED, message);
    }
    this.#underWay.set(caller, underWay + 1);
    try {
      return await run();
    } finally {
      const left = (this.#underWay.get(caller) ?? 1) - 1;
      if (left === 0) this.#underWay.delete(caller);
      else this.#underWay.set(caller, left);
    }
  }

  async #issue(call: Call, caller: AuthenticatedCaller, subject: Subject): Promise<Outcome> {
    const { csr, validityDuration, metadata } = call.request;
    const asked = metadata?.[impersonatedIdentityKey];
    const named = typeof asked === 'string' ? parseSpiffeId(asked) : undefined;
    if (asked !== undefined && named === undefined) {
      const message = `Metadata "${impersonatedIdentityKey}" is not a SPIFFE ID of a service account`;
      return refuse('identity-malformed', status.INVALID_ARGUMENT, message);
    }
    if (named !== undefined) subject.identity = formatSpiffeId(named);
    const granted =
      caller.kind === 'node'
        ? await this.#ofNode(caller.node, named)
        : this.#ofWaypoint(caller.gateway, named);
    if ('ok' in granted) return granted;
    subject.identity = formatSpiffeId(granted);
    if (call.cancelled) return refuse('cancelled', status.CANCELLED, 'Caller is gone');
    return await this.#sign(csr, granted, Number(validityDuration));
  }

  async #ofNode(node: string, asked: Identity | undefined): Promise<Identity | Outcome> {
    if (asked === undefined) {
      const message = `Node "${node}" has no identity of its own; name one in the metadata "${impersonatedIdentityKey}"`;
      return refuse('identity-missing', status.INVALID_ARGUMENT, message);
    }
    if (await this.#isOnNode(node, asked)) return asked;
    const message = `Node "${node}" may not have a certificate of "${formatSpiffeId(asked)}": no pod with this service account runs on it`;
    return refuse('identity-not-on-node', status.PERMISSION_DENIED, message);
  }

  /** A waypoint that names no identity means its own. */
  #ofWaypoint(gateway: GatewayKey, asked: Identity | undefined): Identity | Outcome {
    const own = this.#options.waypoints.identityOf(gateway);
    if (own === undefined) {
      const message = `There is no Gateway "${gateway}" of class weft-waypoint`;
      return refuse('gateway-unknown', status.NOT_FOUND, message);
    }
    if (asked === undefined || formatSpiffeId(asked) === formatSpiffeId(own)) return own;
    const message = `Waypoint "${gateway}" may not have a certificate of "${formatSpiffeId(asked)}", only of its own identity "${formatSpiffeId(own)}"`;
    return refuse('identity-not-own', status.PERMISSION_DENIED, message);
  }

  async #isOnNode(node: string, identity: Identity): Promise<boolean> {
    const { pods } = this.#options;
    if (pods.hasServiceAccount(node, identity)) return true;
    await pods.waitFor(node, identity, this.#podWaitMs);
    return pods.hasServiceAccount(node, identity);
  }

  async #sign(csr: string, identity: Identity, lifeSeconds: number): Promise<Outcome> {
    try {
      const { entries, serial, notAfter } = await this.#options.authority.sign(csr, {
        identity,
        lifeSeconds,
      });
      return { ok: true, entries, serial, notAfter };
    } catch (error) {
      if (!(error instanceof CaError)) throw error;
      if (error.code === 'csr-identity-mismatch') {
        return refuse(error.code, status.PERMISSION_DENIED, error.message);
      }
      if (invalidArgument.has(error.code)) return refuse(error.code, status.INVALID_ARGUMENT, error.message);
      return refuse(error.code, status.INTERNAL, error.message, internalDetails);
    }
  }

  #report(subject: Subject, outcome: Outcome): void {
    const { logger, counter } = this.#options;
    const { peer, caller, identity } = subject;
    const who = caller?.kind === 'waypoint' ? { waypoint: caller.gateway } : { node: caller?.node };
    const fields = { peer, ...who, token: caller?.tokenId, identity };
    if (outcome.ok) {
      const { serial, notAfter } = outcome;
      counter.inc({ result: 'issued' });
      logger.info({ ...fields, serial, notAfter: new Date(notAfter).toISOString() }, 'certificate issued');
    } else {
      counter.inc({ result: outcome.result });
      logger.warn({ ...fields, code: outcome.result, reason: outcome.message }, 'certificate refused');
    }
  }
}

function refuse(
  result: CertificateRequestResult,
  code: status,
  message: string,
  told = message,
): Outcome & { readonly ok: false } {
  return { ok: false, result, status: code, message, told };
}

function internal(error: unknown): Outcome {
  return refuse(
    'internal',
    status.INTERNAL,
    `Internal error: ${error instanceof Error ? error.message : error}`,
  );
}
