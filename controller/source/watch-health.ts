// How the watches of a cluster stand: one log line for an outage instead of one a kind, a problem for the operator when
// a watch fails for long, and word to those that wait as soon as the API server answers one of them again.

import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import type { WatchState } from '../kubernetes/kind-watch.ts';
import type { KubeError } from '../kubernetes/kube-error.ts';
import { clusterPlace } from './kind-objects.ts';
import type { Problem } from './problem.ts';

export interface WatchHealthOptions {
  /** For logs. */
  readonly server: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What problems() says may have changed. */
  readonly onProblems: () => void;
  /** The API server answered a watch that had failed: others need not wait any longer. */
  readonly onAnswersAgain: () => void;
}

interface Failing {
  readonly failure: KubeError;
  /** Monotonic ms. */
  readonly since: number;
}

/** Shorter failures are part of an API server's life. */
const problemAfterMs = 10_000;

export class WatchHealth {
  readonly #options: WatchHealthOptions;
  readonly #failing = new Map<string, Failing>();
  readonly #timers = new Set<Timer>();
  #unreachable = false;

  constructor(options: WatchHealthOptions) {
    this.#options = options;
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  /** The state of a kind's watch changed. */
  onState(kind: string, { failure }: WatchState): void {
    if (failure === undefined) this.#onWorks(kind);
    else this.#onFails(kind, failure);
  }

  /** The kind is no longer watched. */
  forget(kind: string): void {
    this.#failing.delete(kind);
  }

  /** One line for an outage. */
  reportUnreachable(error: unknown): void {
    if (this.#unreachable) return;
    this.#unreachable = true;
    const reason = error instanceof Error ? error.message : String(error);
    const { server, logger } = this.#options;
    logger.error({ server, reason }, 'Kubernetes API does not answer, what is known stays in force');
  }

  reportReachable(): void {
    if (!this.#unreachable || [...this.#failing.values()].some(({ failure }) => isOutage(failure))) return;
    this.#unreachable = false;
    const { server, logger } = this.#options;
    logger.info({ server }, 'Kubernetes API answers again');
  }

  /** One for each watch that has failed for ten seconds. */
  problems(): readonly Problem[] {
    const now = this.#options.clock.monotonic();
    return [...this.#failing]
      .filter(([, { since }]) => now - since >= problemAfterMs)
      .map(([kind, { failure }]) => {
        const message = `Watch of ${kind} fails: ${failure.message}; what is known stays in force`;
        return { file: clusterPlace, line: 0, column: 0, message, severity: 'error' };
      });
  }

  #onWorks(kind: string): void {
    const { logger, onAnswersAgain, onProblems } = this.#options;
    const before = this.#failing.get(kind);
    this.#failing.delete(kind);
    this.reportReachable();
    if (before === undefined) return;
    logger.info({ kind }, 'watch works again');
    onProblems();
    if (isOutage(before.failure)) onAnswersAgain();
  }

  #onFails(kind: string, failure: KubeError): void {
    const { clock, logger, onProblems } = this.#options;
    const before = this.#failing.get(kind);
    this.#failing.set(kind, { failure, since: before?.since ?? clock.monotonic() });
    if (isOutage(failure)) this.reportUnreachable(failure);
    else {
      const fields = { kind, code: failure.code, reason: failure.message };
      logger.warn(fields, 'watch fails, what is known stays in force');
    }
    if (before !== undefined) return;
    const timer = clock.after(
      problemAfterMs,
      () => {
        this.#timers.delete(timer);
        onProblems();
      },
      { unref: true },
    );
    this.#timers.add(timer);
  }
}

function isOutage({ code }: KubeError): boolean {
  return code === 'UNREACHABLE' || code === 'SERVER' || code === 'THROTTLED';
}
