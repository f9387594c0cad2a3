// A handler that writes down what a stream tells it, one line an event. Consumes data at once unless told not to.

import { errorName } from '../../h2/error.ts';
import type { Header } from '../../h2/header.ts';
import { HEAD_ROOM, Slab } from '../../io/slab.ts';
import type { HttpStream, HttpStreamHandler } from '../stream.ts';

export class RecordedStream implements HttpStreamHandler {
  stream!: HttpStream;
  /** `:path` and so on of the request, or of the response head that came last. */
  head: readonly Header[] = [];
  readonly events: string[] = [];
  body = '';
  consumes = true;
  onEvent: (event: string) => void = () => {};
  readonly #over = new Set<string>();

  onHeaders(headers: readonly Header[], endStream: boolean): void {
    this.head = headers;
    this.#note(
      `headers ${headers.map(([name, value]) => `${name}=${value}`).join(' ')}${endStream ? ' end' : ''}`,
    );
  }

  onData(slab: Slab, offset: number, length: number): void {
    if (offset < HEAD_ROOM || length < 1) throw new Error(`Data of ${length} octets at ${offset}`);
    this.body += slab.bytes.toString('latin1', offset, offset + length);
    if (this.consumes) this.stream.consume(length);
    this.#note('data');
  }

  onEnd(): void {
    this.#note('end');
  }

  onReset(code: number): void {
    this.#note(`reset ${errorName(code)}`);
  }

  onWritable(): void {
    this.#note('writable');
  }

  /** Sends `text` as one piece of data. */
  write(text: string, endStream = false): void {
    const slab = new Slab(HEAD_ROOM + text.length);
    slab.bytes.write(text, HEAD_ROOM, 'latin1');
    this.stream.writeData(slab, HEAD_ROOM, text.length, endStream);
  }

  /** Events but data, and since the last call. */
  take(): string[] {
    return this.events.splice(0).filter((event) => event !== 'data');
  }

  #note(event: string): void {
    // Ended once, reset once, and nothing behind a reset.
    if (this.#over.has('reset') || (event === 'end' && this.#over.has('end'))) {
      throw new Error(`"${event}" after the stream was over: ${[...this.#over].join(', ')}`);
    }
    if (event === 'end') this.#over.add('end');
    if (event.startsWith('reset')) this.#over.add('reset');
    this.events.push(event);
    this.onEvent(event);
  }
}
