// The node's end of its report: one stream to the controller that leads, made anew for ever. Each message waits for the
// answer to the one before, and is made of what holds when it goes: however fast states change, only the last counts and
// nothing piles up. A controller that does not know the service is left alone for long.

import { type Client, type ClientDuplexStream, type StatusObject, status } from '@grpc/grpc-js';
import type { WorkloadUid } from '../model/workload.ts';
import { Backoff } from '../runtime/backoff.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import { bearerMetadata } from '../xds/bearer-metadata.ts';
import type { NodeReport as WireReport, NodeReportAck } from '../xds/gen/weft/v1/node_report_pb.ts';
import { openChannel, parseControllerAddress } from '../xds/grpc-channel.ts';
import { heartbeatMs, maxReportedPods, type NodeFacts, type PodCapture } from './node-report.ts';
import { encodeNodeReport } from './node-report-codec.ts';
import { nodeReportService } from './node-report-service-definition.ts';

export interface NodeReportClientOptions {
  /** `host:port` or `https://host:port`. */
  readonly address: string;
  /** PEM; read again at each attempt. */
  readonly rootCertificates: () => string;
  readonly serverName?: string;
  /** Read again at each attempt. */
  readonly token: () => string | undefined;
  readonly clusterId: string;
  /** What holds now. */
  readonly read: () => { readonly facts: NodeFacts; readonly pods: readonly PodCapture[] };
  readonly clock: Clock;
  readonly logger: Logger;
  /** A number in [0, 1); default Math.random. */
  readonly random?: () => number;
}

type Call = ClientDuplexStream<WireReport, NodeReportAck>;

interface Attempt {
  readonly client: Client;
  readonly call: Call;
  /** As JSON, by uid; undefined before the first message. */
  pods: Map<WorkloadUid, string> | undefined;
  facts: string;
  /** The answer to the last message is still to come. */
  waits: boolean;
  /** The next message goes within `quietMs`. */
  soon: boolean;
}

/** Changes this close together go as one, ms. */
const quietMs = 100;
/** An attempt that gets no answer, and a message that gets none, ms. */
const answerMs = 15_000;
/** A replica that does not lead refuses at once, and the next attempt may reach the one that does. */
const retryMs = { minMs: 100, maxMs: 5_000 };
/** Of a controller of an earlier version, or of somebody else's. */
const unknownRetryMs = 300_000;

const { report: method } = nodeReportService;

export class NodeReportClient {
  readonly #options: NodeReportClientOptions;
  readonly #backoff: Backoff;
  #attempt: Attempt | undefined;
  /** One at a time: the next attempt, the next message, or the end of patience. */
  #timer: Timer | undefined;
  #patience: Timer | undefined;
  #lastReason = '';
  #closed = false;

  constructor(options: NodeReportClientOptions) {
    this.#options = options;
    const { random } = options;
    this.#backoff = new Backoff({ ...retryMs, ...(random && { random }) });
  }

  /** Connects now and after every loss; once. */
  start(): void {
    this.#connect();
  }

  /** Something of what `read` gives may have changed. */
  changed(): void {
    const attempt = this.#attempt;
    if (attempt === undefined || attempt.waits || attempt.soon) return;
    attempt.soon = true;
    this.#sendAfter(quietMs);
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    this.#drop();
    this.#timer?.cancel();
  }

  #connect(): void {
    if (this.#closed) return;
    try {
      this.#attempt = this.#open();
    } catch (error) {
      return this.#retry(error instanceof Error ? error.message : String(error), this.#backoff.next());
    }
    this.#send();
  }

  #open(): Attempt {
    const { address, rootCertificates, serverName, token, clusterId } = this.#options;
    const metadata = bearerMetadata(token(), clusterId);
    const target = {
      address: parseControllerAddress(address),
      rootCertificates: rootCertificates(),
      serverName,
    };
    const client = openChannel(target);
    const call = client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      metadata,
    );
    call.on('data', () => this.#answered(call));
    call.on('status', (end) => this.#ended(call, end));
    // Every error is followed by a status; without a listener it would end the process.
    call.on('error', () => {});
    return { client, call, pods: undefined, facts: '', waits: false, soon: false };
  }

  /** What changed since the last message; a heartbeat if nothing did. */
  #send(): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    const { read, clock } = this.#options;
    const { facts, pods } = read();
    const now = new Map(pods.slice(0, maxReportedPods).map((pod) => [pod.uid, JSON.stringify(pod)]));
    const before = attempt.pods ?? new Map<WorkloadUid, string>();
    const factsNow = JSON.stringify(facts);
    attempt.call.write(
      encodeNodeReport({
        complete: attempt.pods === undefined,
        sentAt: clock.now(),
        facts: factsNow === attempt.facts ? undefined : facts,
        pods: pods.filter(({ uid }) => now.has(uid) && now.get(uid) !== before.get(uid)),
        removed: [...before.keys()].filter((uid) => !now.has(uid)),
      }),
    );
    attempt.pods = now;
    attempt.facts = factsNow;
    attempt.waits = true;
    attempt.soon = false;
    this.#timer?.cancel();
    const { call } = attempt;
    this.#patience = clock.after(
      answerMs,
      () => this.#ended(call, { code: status.DEADLINE_EXCEEDED, details: 'No answer in time' }),
      { unref: true },
    );
  }

  #answered(call: Call): void {
    const attempt = this.#attempt;
    if (attempt?.call !== call) return;
    attempt.waits = false;
    this.#patience?.cancel();
    this.#backoff.reset();
    if (this.#lastReason !== '') this.#options.logger.info({}, 'The controller knows of this node again');
    this.#lastReason = '';
    attempt.soon = this.#isOutdated(attempt);
    this.#sendAfter(attempt.soon ? quietMs : heartbeatMs);
  }

  #isOutdated({ pods = new Map() }: Attempt): boolean {
    const now = this.#options.read().pods;
    return now.length !== pods.size || now.some((pod) => pods.get(pod.uid) !== JSON.stringify(pod));
  }

  #sendAfter(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(delayMs, () => this.#send(), { unref: true });
  }

  #ended(call: Call, { code, details }: Pick<StatusObject, 'code' | 'details'>): void {
    if (this.#attempt?.call !== call) return;
    this.#drop();
    const delayMs = code === status.UNIMPLEMENTED ? unknownRetryMs : this.#backoff.next();
    this.#retry(`${status[code] ?? code}: ${details}`, delayMs);
  }

  #retry(reason: string, delayMs: number): void {
    const { logger, clock } = this.#options;
    if (reason !== this.#lastReason)
      logger.info({ reason, delayMs }, 'The controller is not told of this node');
    this.#lastReason = reason;
    this.#timer?.cancel();
    this.#timer = clock.after(delayMs, () => this.#connect(), { unref: true });
  }

  #drop(): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    this.#patience?.cancel();
    attempt?.call.cancel();
    attempt?.client.close();
  }
}
