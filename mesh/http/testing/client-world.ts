// An HTTP/1.1 client connection whose server is the test.

import type { Header } from '../../h2/header.ts';
import { Http1ClientConnection } from '../client-connection.ts';
import { InputBudget } from '../head-gatherer.ts';
import type { Http1Settings } from '../http1-settings.ts';
import { FakeLoop } from './fake-loop.ts';
import { FakeTransport } from './fake-transport.ts';
import { RecordedStream } from './recorded-stream.ts';

export class ClientWorld {
  readonly loop = new FakeLoop();
  readonly transport = new FakeTransport(this.loop);
  readonly budget = new InputBudget(1 << 20);
  /** `available`, `retired` and `closed: reason` in their order. */
  readonly events: string[] = [];
  readonly connection: Http1ClientConnection;

  constructor(settings: Partial<Http1Settings> = {}) {
    this.connection = new Http1ClientConnection(this.loop, this.transport, {
      budget: this.budget,
      settings,
      handler: {
        onAvailable: () => this.events.push('available'),
        onRetired: () => this.events.push('retired'),
        onClosed: (reason) => this.events.push(`closed: ${reason ?? 'in order'}`),
      },
    });
  }

  /** Makes a request; throws if none can be made. */
  request(
    method: string,
    options: { readonly fields?: readonly Header[]; readonly endStream?: boolean } = {},
  ): RecordedStream {
    const recorded = new RecordedStream();
    const list: Header[] = [
      [':method', method],
      [':scheme', 'http'],
      [':authority', 'a'],
      [':path', '/x'],
      ...(options.fields ?? []),
    ];
    const stream = this.connection.request(list, options.endStream ?? true, recorded);
    if (stream === undefined) throw new Error('No request can be made');
    recorded.stream = stream;
    return recorded;
  }
}
