// DNS over TCP framing (RFC 1035 section 4.2.2): two bytes of length before each message. Holds at most one message.

export function frameDns(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length, 0);
  return Buffer.concat([length, message]);
}

export class DnsFrameReader {
  readonly #onMessage: (message: Buffer) => void;
  #chunks: Buffer[] = [];
  #size = 0;

  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size < 2) return;
    let buffer = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    while (buffer.length >= 2) {
      const length = buffer.readUInt16BE(0);
      if (buffer.length < 2 + length) break;
      this.#onMessage(Buffer.from(buffer.subarray(2, 2 + length)));
      buffer = buffer.subarray(2 + length);
    }
    this.#chunks = buffer.length === 0 ? [] : [buffer];
    this.#size = buffer.length;
  }
}
