// What an HTTP proxy knows of gRPC (gRPC over HTTP/2): which requests are, what a local answer looks like to them, the
// status in trailers, and messages counted by their five octets in front.

import { type Header, headerValue } from '../../mesh/h2/header.ts';
import type { Slab } from '../../mesh/io/slab.ts';

const statusUnknown = 2;

/** `application/grpc` and its `+proto` and the like; not gRPC-Web, whose status is in the body. */
export function isGrpcContentType(value: string | undefined): boolean {
  if (value === undefined || !value.startsWith('application/grpc')) return false;
  const next = value.charAt(16);
  return next === '' || next === '+' || next === ';' || next === ' ';
}

/** The status that a client would take an HTTP status without trailers for (grpc.io, http-grpc-status-mapping). */
export function grpcStatusOf(httpStatus: number): number {
  switch (httpStatus) {
    case 400:
      return 13;
    case 401:
      return 16;
    case 403:
      return 7;
    case 404:
      return 12;
    case 429:
    case 502:
    case 503:
    case 504:
      return 14;
    default:
      return statusUnknown;
  }
}

/** The grpc-status of trailers, or of a response that is trailers only. */
export function grpcStatusIn(headers: readonly Header[]): number | undefined {
  const value = headerValue(headers, 'grpc-status');
  return value === undefined || !/^[0-9]{1,3}$/.test(value) ? undefined : Number(value);
}

/** grpc-message is percent-encoded: printable ASCII but `%` stands for itself. */
export function encodeGrpcMessage(text: string): string {
  return text.replace(/[^\x20-\x24\x26-\x7e]/g, (character) =>
    [...Buffer.from(character)]
      .map((octet) => `%${octet.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );
}

const prefixBytes = 5;

/** Counts length-prefixed messages in one direction of a stream, however it is cut into chunks. */
export class GrpcMessageCounter {
  messages = 0;
  #prefixSeen = 0;
  #length = 0;
  #left = 0;

  add(slab: Slab, offset: number, length: number): void {
    const { bytes } = slab;
    let at = offset;
    const end = offset + length;
    while (at < end) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, end - at);
        this.#left -= step;
        at += step;
        continue;
      }
      if (this.#prefixSeen > 0) this.#length = this.#length * 256 + (bytes[at] as number);
      this.#prefixSeen++;
      at++;
      if (this.#prefixSeen < prefixBytes) continue;
      this.messages++;
      this.#left = this.#length;
      this.#length = 0;
      this.#prefixSeen = 0;
    }
  }
}
