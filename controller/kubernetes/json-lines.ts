// Bytes of a watch to its events, one JSON object a line. Bounded: a line longer than the limit ends the stream.

import { StringDecoder } from 'node:string_decoder';
import { KubeError } from './kube-error.ts';

/** etcd holds objects of 1.5 MiB; as JSON they are larger. */
const defaultMaxLineChars = 16 * 1024 * 1024;

export class JsonLines {
  readonly #onValue: (value: unknown) => void;
  readonly #maxLineChars: number;
  readonly #decoder = new StringDecoder('utf8');
  #parts: string[] = [];
  #chars = 0;

  constructor(onValue: (value: unknown) => void, { maxLineChars = defaultMaxLineChars } = {}) {
    this.#onValue = onValue;
    this.#maxLineChars = maxLineChars;
  }

  /** Throws KubeError `GARBAGE` for a line that is no JSON or too long, and whatever `onValue` throws. */
  push(chunk: Buffer): void {
    let text = this.#decoder.write(chunk);
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n')) {
      const line = this.#parts.join('') + text.slice(0, end);
      this.#parts = [];
      this.#chars = 0;
      text = text.slice(end + 1);
      if (line.trim() !== '') this.#onValue(parseLine(line));
    }
    if (text === '') return;
    this.#parts.push(text);
    this.#chars += text.length;
    if (this.#chars > this.#maxLineChars) {
      throw new KubeError(
        'GARBAGE',
        `Kubernetes API sent an event of more than ${this.#maxLineChars} characters`,
      );
    }
  }

  /** Call at the end of the stream. Throws KubeError `GARBAGE` if it broke off inside an event. */
  end(): void {
    if (this.#parts.join('').trim() === '') return;
    throw new KubeError('GARBAGE', 'Watch broke off inside an event');
  }
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    const start = JSON.stringify(line.slice(0, 60));
    throw new KubeError('GARBAGE', `Kubernetes API sent an event that is no JSON: ${start}`, { cause });
  }
}
