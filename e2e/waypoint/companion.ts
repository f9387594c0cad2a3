// A client that behaves, beside those that do not: asks again and again, on a kept connection and on new ones, and
// remembers every request that was not answered as it should be.

import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';

export class Companion implements AsyncDisposable {
  readonly failures: string[] = [];
  readonly #kept = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #port: number;
  readonly #done: Promise<unknown>;
  #answered = { kept: 0, new: 0 };
  #stopping = false;
  #onAnswer: (() => void)[] = [];

  /** Starts at once; `/companion` of the port is to answer 200 `fine`. */
  constructor(port: number) {
    this.#port = port;
    this.#done = Promise.all([this.#run('kept', this.#kept), this.#run('new', false)]);
  }

  /** Resolves when so many more requests of each kind have been answered, in whichever way. */
  async more(count: number): Promise<void> {
    const until = { kept: this.#answered.kept + count, new: this.#answered.new + count };
    while (this.#answered.kept < until.kept || this.#answered.new < until.new)
      await new Promise<void>((resolve) => this.#onAnswer.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    await this.#done;
    this.#kept.destroy();
  }

  async #run(kind: 'kept' | 'new', agent: Agent | false): Promise<void> {
    while (!this.#stopping) {
      try {
        const outgoing = get({
          host: '127.0.0.1',
          port: this.#port,
          path: '/companion',
          agent,
          timeout: 20_000,
        });
        outgoing.once('timeout', () => outgoing.destroy(new Error('No answer in 20 s')));
        const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
        const body = await text(answer);
        if (answer.statusCode !== 200 || body !== 'fine') this.failures.push(`${answer.statusCode} ${body}`);
      } catch (error) {
        this.failures.push(String(error));
      }
      this.#answered[kind]++;
      for (const wake of this.#onAnswer.splice(0)) wake();
    }
  }
}
