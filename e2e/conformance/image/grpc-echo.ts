// The one call of the suite's gRPC service, as bytes: a message with one string in field 1, behind gRPC's prefix of five
// bytes. Messages are never compressed.

/** Path of the method that both sides know. */
export const echoMethod = '/proto.EchoTestService/Echo';

const stringField1 = 0x0a;
const prefixLength = 5;

/** A message with its gRPC prefix. */
export function encodeEcho(text: string): Buffer {
  const value = Buffer.from(text);
  const message = Buffer.concat([Buffer.from([stringField1, ...varint(value.length)]), value]);
  const prefix = Buffer.alloc(prefixLength);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** The string of a message with its prefix; empty if it has none. Throws RangeError if bytes are missing. */
export function decodeEcho(framed: Buffer): string {
  const end = prefixLength + framed.readUInt32BE(1);
  if (framed[0] !== 0) throw new RangeError('a compressed message');
  if (framed.length < end) throw new RangeError('a message that is cut off');
  if (end === prefixLength) return '';
  if (framed[prefixLength] !== stringField1) throw new RangeError('a message that begins with another field');
  let offset = prefixLength + 1;
  let length = 0;
  for (let shift = 0; shift < 32; shift += 7) {
    const byte = framed.readUInt8(offset++);
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  if (offset + length > end) throw new RangeError('a string that is longer than its message');
  return framed.toString('utf8', offset, offset + length);
}

function varint(value: number): readonly number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
