// An HTTP/1.1 server connection whose client is the test.

import type { Header } from '../../h2/header.ts';
import { InputBudget } from '../head-gatherer.ts';
import type { Http1Settings } from '../http1-settings.ts';
import { Http1ServerConnection } from '../server-connection.ts';
import { FakeLoop } from './fake-loop.ts';
import { FakeTransport } from './fake-transport.ts';
import { RecordedStream } from './recorded-stream.ts';

export class ServerWorld {
  readonly loop = new FakeLoop();
  readonly transport = new FakeTransport(this.loop);
  readonly budget = new InputBudget(1 << 20);
  readonly requests: {
    readonly line: string;
    readonly list: readonly Header[];
    readonly stream: RecordedStream;
  }[] = [];
  readonly refusals: string[] = [];
  /** Reason of the end; undefined before it. */
  closed: string | undefined;
  /** What is done with each request, from inside onRequest. */
  answer: (stream: RecordedStream, line: string) => RecordedStream | undefined = (stream) => stream;
  readonly connection: Http1ServerConnection;

  constructor(settings: Partial<Http1Settings> = {}) {
    this.connection = new Http1ServerConnection(this.loop, this.transport, {
      scheme: 'http',
      budget: this.budget,
      settings,
      handler: {
        onRequest: (raw, list, endStream) => {
          const stream = new RecordedStream();
          stream.stream = raw;
          stream.head = list;
          const line = `${list[0]?.[1]} ${list[3]?.[1]}${endStream ? ' end' : ''}`;
          this.requests.push({ line, list, stream });
          return this.answer(stream, line);
        },
        onRefused: (status, reason) => this.refusals.push(`${status} ${reason}`),
        onClosed: (reason) => {
          if (this.closed !== undefined) throw new Error('Closed twice');
          this.closed = reason ?? 'in order';
        },
      },
    });
  }

  /** The newest request. */
  get last(): RecordedStream {
    const last = this.requests.at(-1);
    if (last === undefined) throw new Error('No request came');
    return last.stream;
  }

  get lines(): string[] {
    return this.requests.map(({ line }) => line);
  }

  /** What the server says to the octets. */
  exchange(octets: string): string {
    this.transport.send(octets);
    return this.transport.take();
  }
}
