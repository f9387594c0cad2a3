// Gets one request answered by an endpoint of its backend: picks one, sends, and tries again as far as policy, budget and
// time allow. Owns the tries; who asked (an exchange, a mirror) gets one answer: a response, or why there is none.

import type { PickHandle } from '../../mesh/balance/balancer.ts';
import { ErrorCode } from '../../mesh/h2/error.ts';
import type { Header } from '../../mesh/h2/header.ts';
import type { HttpStream } from '../../mesh/http/stream.ts';
import type { Slab } from '../../mesh/io/slab.ts';
import type { Service } from '../../mesh/model/service.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import type { WorkloadUid } from '../../mesh/model/workload.ts';
import type { Timer } from '../../mesh/runtime/clock.ts';
import { backoffMs } from '../resilience/backoff.ts';
import { type Timeouts, tryTimeoutMs } from '../resilience/deadlines.ts';
import { hedgeDelayMs } from '../resilience/hedging.ts';
import type { ServiceRequests } from '../resilience/request-limits.ts';
import { type RetrySettings, shouldRetry, statusOf, type TryFailure } from '../resilience/retry-policy.ts';
import { Attempt, type AttemptFailure, type AttemptOwner, type AttemptRequest } from './attempt.ts';
import type { BodyPipe } from './body-pipe.ts';
import { grpcStatusIn } from './grpc.ts';
import type { LocalReply } from './local-reply.ts';
import type { ResponseFlag } from './request-record.ts';
import type { UpstreamProtocol } from './upstream/endpoint-address.ts';
import { EndpointChoice } from './upstream/endpoint-choice.ts';
import type { Upstream, UpstreamEndpoint } from './upstream/upstream.ts';

/** Where a request goes: a port of a service, or one endpoint that was asked for by its own address. */
export type ForwardTarget =
  | {
      readonly kind: 'service';
      readonly service: Service;
      readonly port: number;
      readonly family: 4 | 6;
      readonly hash: number | undefined;
      readonly preferred: WorkloadUid | undefined;
    }
  | { readonly kind: 'endpoint'; readonly endpoint: UpstreamEndpoint };

export interface ForwardRequest extends AttemptRequest {
  readonly method: string;
  readonly protocol: UpstreamProtocol;
  readonly target: ForwardTarget;
  readonly settings: HttpTrafficPolicy | undefined;
  readonly retry: RetrySettings;
  readonly timeouts: Timeouts;
  /** When its head came, reactor ms. */
  readonly startedMs: number;
}

export interface ForwardedResponse {
  readonly endStream: boolean;
  /** Body and end follow by it. */
  readonly stream: HttpStream;
  /** A retry was wanted, but it was the last. */
  readonly exhausted: boolean;
  /** Who answered: of several tries at once it need not be the last. */
  readonly endpoint: UpstreamEndpoint;
}

export interface ForwardOwner {
  /** Where the next try goes; the reason to refuse it. Before anything is sent there. */
  onTry(endpoint: UpstreamEndpoint): LocalReply | undefined;
  onInformational(headers: readonly Header[]): void;
  /** The final head. */
  onResponse(status: number, headers: readonly Header[], response: ForwardedResponse): void;
  onResponseData(slab: Slab, offset: number, length: number): void;
  onResponseTrailers(headers: readonly Header[]): void;
  onResponseEnd(): void;
  /** Instead of onResponse. */
  onNoResponse(reply: LocalReply): void;
  /** After onResponse: it does not go on. */
  onBroken(flag: ResponseFlag, details: string): void;
}

const tooManyWait: LocalReply = Object.freeze({
  status: 503,
  flag: 'UO',
  details: 'as many requests wait for a connection as the policy allows',
});

export class Forwarding implements AttemptOwner {
  #upstream: Upstream;
  #request: ForwardRequest;
  #owner: ForwardOwner;
  #body: BodyPipe | undefined;
  #counters: ServiceRequests | undefined;
  #attempt: Attempt | undefined;
  /** Beside `#attempt`; only requests that are hedged have any. */
  #hedges: Attempt[] | undefined;
  #choice: EndpointChoice;
  #retries = 0;
  #tries = 0;
  #waiting = false;
  /** The next try is to be made on a new connection. */
  #fresh = false;
  #deadline: Timer | undefined;
  /** To the next try. */
  #delay: Timer | undefined;
  /** Of the name of the next try's endpoint. */
  #lookUp: { cancel(): void } | undefined;
  #done = false;

  /** @param body undefined if the request has none. */
  constructor(upstream: Upstream, request: ForwardRequest, owner: ForwardOwner, body: BodyPipe | undefined) {
    this.#upstream = upstream;
    this.#choice = new EndpointChoice(upstream, 'request');
    this.#request = request;
    this.#owner = owner;
    this.#body = body;
  }

  start(): void {
    const { target, settings, timeouts, startedMs } = this.#request;
    const { reactor, limits, deadlines } = this.#upstream;
    if (target.kind === 'service') {
      const counters = limits.of(target.service.key);
      if (!counters.tryStart(settings))
        return this.#fail({
          status: 503,
          flag: 'UO',
          details: `as many requests to service ${target.service.key} are under way as its policy allows`,
        });
      this.#counters = counters;
      counters.retryBudget.requested(reactor.now);
    }
    if (timeouts.requestMs !== undefined) {
      const left = timeouts.requestMs - (reactor.now - startedMs);
      if (left <= 0) return this.#timedOut();
      this.#deadline = deadlines.after(left, () => this.#timedOut());
    }
    this.#try();
  }

  /** The client wants no answer any more, or cannot be given one. Idempotent. */
  cancel(code: number = ErrorCode.CANCEL): void {
    if (this.#done) return;
    this.#dropTries(undefined, code);
    this.#finish();
  }

  /** The response is over and was passed on; what is left of the request is not wanted. */
  complete(): void {
    if (this.#done) return;
    if (this.#body === undefined || this.#body.finished) this.#attempt?.finish();
    else this.#attempt?.abandon(ErrorCode.NO_ERROR);
    this.#finish();
  }

  /** No timeout from here on: the two sides talk as long as they like (an upgrade). */
  switchOffTimeouts(): void {
    this.#deadline?.cancel();
    this.#attempt?.timer?.cancel();
  }

  onSent(attempt: Attempt, stream: HttpStream): void {
    this.#stopWaiting();
    const request = this.#request;
    const { reactor, balancer, deadlines } = this.#upstream;
    // How fast an endpoint is says its response; most connections are there already.
    if (attempt.handle !== undefined) balancer.connected(attempt.handle, 0, { setUp: true });
    const perTryMs =
      request.timeouts.perTryMs === undefined
        ? undefined
        : tryTimeoutMs(request.timeouts, reactor.now - request.startedMs);
    if (perTryMs !== undefined) attempt.timer = deadlines.after(perTryMs, () => this.#tryTimedOut(attempt));
    this.#armHedge();
    if (this.#body !== undefined) this.#body.target = stream;
  }

  onInformational(attempt: Attempt, headers: readonly Header[]): void {
    if (attempt === this.#attempt && this.#hedges === undefined) this.#owner.onInformational(headers);
  }

  onResponse(attempt: Attempt, status: number, headers: readonly Header[], endStream: boolean): void {
    const { handle } = attempt;
    if (handle !== undefined)
      this.#upstream.balancer.responded(handle, {
        status: statusOf(status, endStream ? grpcStatusIn(headers) : undefined),
        latencyMs: this.#upstream.reactor.now - attempt.startedMs,
      });
    if (this.#isRetried(status, headers, endStream)) {
      attempt.abandon();
      return this.#ended(attempt, {
        failure: { kind: 'response', status },
        flag: 'URX',
        details: `status ${status}`,
        stale: false,
        blames: 'none',
      });
    }
    this.#dropTries(attempt, ErrorCode.CANCEL);
    this.#cancelLookUp();
    this.#attempt = attempt;
    this.#body?.forgetKept();
    const exhausted = this.#retries > 0 && this.#request.retry.codes.includes(status);
    const { endpoint } = attempt;
    const stream = attempt.stream as HttpStream;
    this.#owner.onResponse(status, headers, { endStream, stream, exhausted, endpoint });
  }

  onResponseData(slab: Slab, offset: number, length: number): void {
    this.#owner.onResponseData(slab, offset, length);
  }

  onResponseTrailers(headers: readonly Header[]): void {
    this.#owner.onResponseTrailers(headers);
  }

  onResponseEnd(): void {
    this.#owner.onResponseEnd();
  }

  onRoom(): void {
    this.#body?.drain();
  }

  onBroken(flag: ResponseFlag, details: string): void {
    const handle = this.#attempt?.handle;
    if (handle !== undefined) this.#upstream.balancer.failed(handle, 'tunnel');
    this.#finish();
    this.#owner.onBroken(flag, details);
  }

  onFailed(attempt: Attempt, failure: AttemptFailure): void {
    this.#stopWaiting();
    const { handle } = attempt;
    const { balancer, reactor } = this.#upstream;
    if (handle !== undefined) {
      if (failure.blames === 'reset')
        balancer.responded(handle, { status: 0, latencyMs: reactor.now - attempt.startedMs });
      else if (failure.blames !== 'none') balancer.failed(handle, failure.blames);
    }
    this.#ended(attempt, failure);
  }

  #try(): void {
    const { target } = this.#request;
    if (target.kind === 'endpoint') return this.#launch(target.endpoint, undefined);
    const { balancer } = this.#upstream;
    const picked = this.#choice.next(target, this.#request.settings);
    if (picked.kind === 'none') {
      // The try that is under way may do without a second one.
      if (this.#attempt !== undefined) return;
      const { skipped } = this.#choice;
      const flag = picked.reason === 'connection-limit' ? 'UO' : skipped === undefined ? 'UH' : 'UF';
      return this.#fail({ status: 503, flag, details: skipped ?? picked.message });
    }
    const { handle } = picked;
    balancer.begin(handle);
    const { workload, address, port } = picked.endpoint;
    if (address !== undefined)
      return this.#launch(this.#upstream.endpointOf(picked.endpoint, target.service), handle);
    const looking = this.#upstream.lookUp(workload, target, (found) => {
      this.#lookUp = undefined;
      if (found !== undefined)
        return this.#launch(
          this.#upstream.endpointOf({ workload, address: found, port }, target.service),
          handle,
        );
      balancer.failed(handle, 'connect');
      this.#choice.skip(workload.uid, `the endpoint ${workload.name} has no address`);
      this.#try();
    });
    this.#lookUp = {
      cancel: () => {
        looking.cancel();
        balancer.closed(handle);
      },
    };
  }

  #launch(endpoint: UpstreamEndpoint, handle: PickHandle | undefined): void {
    const { reactor, pools } = this.#upstream;
    const refusal = this.#owner.onTry(endpoint);
    if (refusal !== undefined) return this.#notLaunched(handle, refusal);
    const pool = pools.poolFor(endpoint.place, this.#request.protocol);
    // Where one connection was stale the others are likely to be, too.
    const connection = this.#fresh ? undefined : pool.take();
    if (connection === undefined && !this.#mayWait()) return this.#notLaunched(handle, tooManyWait);
    this.#tries++;
    const attempt = new Attempt(this, this.#request, { endpoint, pool, handle, startedMs: reactor.now });
    if (this.#attempt === undefined) this.#attempt = attempt;
    else (this.#hedges ??= []).push(attempt);
    if (connection === undefined) pool.wait(attempt);
    else attempt.onConnection(connection);
  }

  /** A try that was not to be. A second one beside another is just left out. */
  #notLaunched(handle: PickHandle | undefined, reply: LocalReply): void {
    if (handle !== undefined) this.#upstream.balancer.closed(handle);
    if (this.#attempt === undefined) this.#fail(reply);
  }

  #mayWait(): boolean {
    if (this.#counters === undefined || this.#waiting) return true;
    this.#waiting = this.#counters.tryWait(this.#request.settings);
    return this.#waiting;
  }

  #isRetried(status: number, headers: readonly Header[], endStream: boolean): boolean {
    const { retry } = this.#request;
    if (retry.codes.length === 0) return false;
    const grpcStatus = endStream ? grpcStatusIn(headers) : undefined;
    return this.#mayRetry({ kind: 'response', status, grpcStatus });
  }

  /** By the policy; the budget is asked last, as asking takes from it. */
  #mayRetry(failure: TryFailure): boolean {
    const { retry, method, settings } = this.#request;
    if (this.#hedges !== undefined && this.#hedges.length > 0) return true;
    const replayable = this.#body === undefined || this.#body.replayable;
    if (!shouldRetry(retry, failure, { method, replayable, retries: this.#retries })) return false;
    const budget = this.#counters?.retryBudget;
    return budget === undefined || budget.tryRetry(this.#upstream.reactor.now, settings?.retryBudget);
  }

  /** A try is over without a response that counts. */
  #ended(attempt: Attempt, failed: AttemptFailure): void {
    const { balancer } = this.#upstream;
    if (attempt.handle !== undefined) {
      balancer.closed(attempt.handle);
      this.#choice.exclude(attempt.handle.uid);
    }
    if (attempt === this.#attempt) this.#attempt = this.#hedges?.pop();
    else this.#hedges = this.#hedges?.filter((other) => other !== attempt);
    // Others are still under way: they may do better.
    if (this.#attempt !== undefined || this.#lookUp !== undefined) return;
    const retry = failed.failure.kind === 'response' || this.#mayRetry(failed.failure);
    if (retry && (this.#body === undefined || this.#body.restart())) return this.#retryAfter(failed);
    this.#fail({
      status: failed.failure.kind === 'timeout' ? 504 : failed.flag === 'UPE' ? 502 : 503,
      flag: failed.flag,
      details: this.#retries > 0 ? `${failed.details}, after ${this.#tries} tries` : failed.details,
    });
  }

  /** At once where the endpoint was never reached and another one can be; with a pause where it may be overloaded. */
  #retryAfter({ failure, stale }: AttemptFailure): void {
    this.#retries++;
    this.#fresh = stale;
    // A hedge of the try that failed.
    this.#delay?.cancel();
    this.#delay = undefined;
    const elsewhere = failure.kind === 'connect' || failure.kind === 'refused';
    if (stale || (elsewhere && this.#retries === 1)) return this.#try();
    const { reactor, random } = this.#upstream;
    this.#delay = reactor.after(backoffMs(this.#request.retry.backoff, this.#retries, random), () => {
      this.#delay = undefined;
      this.#try();
    });
  }

  #armHedge(): void {
    const { settings, method, endStream } = this.#request;
    if (settings?.hedging === undefined) return;
    const delayMs = hedgeDelayMs(settings, { method, replayable: endStream, tries: this.#tries });
    if (delayMs === undefined) return;
    this.#delay?.cancel();
    this.#delay = this.#upstream.reactor.after(delayMs, () => {
      this.#delay = undefined;
      const attempt = this.#attempt;
      if (this.#done || attempt === undefined || attempt.answered) return;
      const budget = this.#counters?.retryBudget;
      if (budget !== undefined && !budget.tryRetry(this.#upstream.reactor.now, settings.retryBudget)) return;
      if (attempt.handle !== undefined) this.#choice.exclude(attempt.handle.uid);
      this.#try();
    });
  }

  #tryTimedOut(attempt: Attempt): void {
    if (this.#done) return;
    const { balancer, reactor } = this.#upstream;
    attempt.timedOut();
    const details = 'the time of the try is over';
    if (attempt.answered) {
      this.#finish();
      return this.#owner.onBroken('UT', details);
    }
    if (attempt.handle !== undefined)
      balancer.responded(attempt.handle, { status: 504, latencyMs: reactor.now - attempt.startedMs });
    this.#ended(attempt, { failure: { kind: 'timeout' }, flag: 'UT', details, stale: false, blames: 'none' });
  }

  #timedOut(): void {
    if (this.#done) return;
    const details = `no response in ${this.#request.timeouts.requestMs} ms`;
    const attempt = this.#attempt;
    if (attempt?.answered === true) {
      attempt.abandon();
      this.#finish();
      return this.#owner.onBroken('UT', 'the response was not complete in time');
    }
    if (attempt?.handle !== undefined && attempt.stream !== undefined)
      this.#upstream.balancer.responded(attempt.handle, {
        status: 504,
        latencyMs: this.#upstream.reactor.now - attempt.startedMs,
      });
    attempt?.timedOut();
    this.#dropTries(undefined, ErrorCode.CANCEL);
    this.#fail({ status: 504, flag: 'UT', details });
  }

  #fail(reply: LocalReply): void {
    if (this.#done) return;
    this.#dropTries(undefined, ErrorCode.CANCEL);
    this.#finish();
    this.#owner.onNoResponse(reply);
  }

  /** All tries but one are given up. */
  #dropTries(kept: Attempt | undefined, code: number): void {
    const { balancer } = this.#upstream;
    if (this.#hedges !== undefined) {
      for (const attempt of this.#hedges) {
        if (attempt === kept) continue;
        attempt.abandon(code);
        if (attempt.handle !== undefined) balancer.closed(attempt.handle);
      }
      this.#hedges = undefined;
    }
    const attempt = this.#attempt;
    if (attempt === undefined || attempt === kept) return;
    attempt.abandon(code);
    if (attempt.handle !== undefined) balancer.closed(attempt.handle);
    this.#attempt = undefined;
  }

  #cancelLookUp(): void {
    this.#lookUp?.cancel();
    this.#lookUp = undefined;
  }

  #stopWaiting(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#counters?.stopWaiting();
  }

  #finish(): void {
    if (this.#done) return;
    this.#done = true;
    this.#deadline?.cancel();
    this.#delay?.cancel();
    this.#cancelLookUp();
    this.#stopWaiting();
    this.#counters?.end();
    const handle = this.#attempt?.handle;
    if (handle !== undefined) this.#upstream.balancer.closed(handle);
  }
}
