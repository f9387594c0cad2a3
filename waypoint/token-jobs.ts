// Verifies tokens for the data workers: loads the verifier, and with it the library, only when the first token comes. A
// job always gets an answer.

import type { Clock } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { TokenAnswer, TokenJob } from './jwt/token-job.ts';
import type { TokenVerifier } from './jwt/token-verifier.ts';

export interface TokenJobsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: { jwksFetched(ok: boolean): void };
}

export class TokenJobs {
  readonly #options: TokenJobsOptions;
  #verifier: Promise<TokenVerifier> | undefined;

  constructor(options: TokenJobsOptions) {
    this.#options = options;
  }

  run(job: TokenJob, answer: (answer: TokenAnswer) => void): void {
    this.#verifier ??= this.#load();
    this.#verifier
      .then((verifier) => verifier.verify(job))
      .then(answer, (error: unknown) => {
        this.#options.logger.error({ err: error }, 'Verifying a token failed');
        answer({ id: job.id, result: { kind: 'unavailable', reason: 'Tokens can not be verified' } });
      });
  }

  async #load(): Promise<TokenVerifier> {
    const { clock, logger, metrics } = this.#options;
    const { TokenVerifier } = await import('./jwt/token-verifier.ts');
    return new TokenVerifier({
      clock,
      onFetch: (url, error) => {
        metrics.jwksFetched(error === undefined);
        if (error !== undefined) logger.warn({ url, err: error }, 'Fetching keys failed');
      },
    });
  }
}
