// Reads DER (X.690): one level of elements at a time, with the definite, shortest lengths and the one-byte tags that
// X.509 is made of. Nothing outside the given bytes is touched and nothing is copied. What is not DER throws a
// RangeError; the reader of the structure gives it a meaning.

export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const;

export interface DerElement {
  /** Class, constructed bit and number, as in the first byte. */
  readonly tag: number;
  readonly content: Buffer;
  /** With tag and length. */
  readonly whole: Buffer;
}

/** The elements that fill `bytes` from the first to the last one. */
export function readElements(bytes: Buffer): DerElement[] {
  const elements: DerElement[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const element = readElement(rest);
    elements.push(element);
    rest = rest.subarray(element.whole.length);
  }
  return elements;
}

/** The one element that fills `bytes`. */
export function readOnly(bytes: Buffer, tag: number): DerElement {
  const element = expectTag(readElement(bytes), tag);
  if (element.whole.length !== bytes.length) throw new RangeError('DER element is followed by more bytes');
  return element;
}

/** The elements inside of `element`, which must have this tag. */
export function readInside(element: DerElement | undefined, tag: number): DerElement[] {
  return readElements(expectTag(element, tag).content);
}

export function expectTag(element: DerElement | undefined, tag: number): DerElement {
  if (element?.tag === tag) return element;
  const got = element === undefined ? 'the end' : `0x${element.tag.toString(16)}`;
  throw new RangeError(`DER element has the wrong tag: want 0x${tag.toString(16)}, got ${got}`);
}

/** Wall clock in ms of a UTCTime or GeneralizedTime in the form of RFC 5280 section 4.1.2.5: whole seconds, Z. */
export function readTime(element: DerElement | undefined): number {
  const short = element?.tag === derTag.utcTime;
  const text = (short ? element : expectTag(element, derTag.generalizedTime)).content.toString('latin1');
  const century = short ? (text < '50' ? '20' : '19') : '';
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(century + text);
  if (match === null) throw new RangeError(`DER time "${text.slice(0, 32)}" is not in the form of RFC 5280`);
  const [, year, month, day, hour, minute, second] = match;
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const ms = Date.parse(iso);
  // Date.parse takes a 30th of February for the 2nd of March.
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== iso) {
    throw new RangeError(`DER time "${text}" does not exist`);
  }
  return ms;
}

function readElement(bytes: Buffer): DerElement {
  const [tag, first] = bytes;
  if (tag === undefined || first === undefined) throw new RangeError('DER element is cut off');
  if ((tag & 0x1f) === 0x1f) throw new RangeError('DER element has a tag of several bytes');
  const lengthBytes = first < 0x80 ? 0 : first - 0x80;
  if (first === 0x80 || lengthBytes > 4) throw new RangeError('DER element has no usable length');
  const start = 2 + lengthBytes;
  if (start > bytes.length) throw new RangeError('DER element is cut off');
  const length = lengthBytes === 0 ? first : bytes.readUIntBE(2, lengthBytes);
  if (lengthBytes > 0 && (length < 0x80 || bytes[2] === 0)) {
    throw new RangeError('DER element has a length in more bytes than it needs');
  }
  if (start + length > bytes.length) throw new RangeError('DER element is cut off');
  return { tag, content: bytes.subarray(start, start + length), whole: bytes.subarray(0, start + length) };
}
