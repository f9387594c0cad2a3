// The examples of RFC 7541 appendix C, in both directions where the encoder makes the same choices as the RFC's.

import { describe, expect, it } from 'vitest';
import type { Header } from '../header.ts';
import { HpackDecoder } from './decoder.ts';
import { HpackEncoder } from './encoder.ts';
import { HpackCursor, writeInteger } from './integer.ts';

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
}

function decoder(): HpackDecoder {
  return new HpackDecoder({ maxListBytes: 16_384, tableBytes: 4096 });
}

function decode(target: HpackDecoder, text: string): Header[] {
  const bytes = hex(text);
  return target.decode(bytes, 0, bytes.length);
}

describe('C.1 integers', () => {
  it.each([
    { prefixBits: 5, value: 10, bytes: '0a' },
    { prefixBits: 5, value: 1337, bytes: '1f9a0a' },
    { prefixBits: 8, value: 42, bytes: '2a' },
  ])('reads and writes $value with a prefix of $prefixBits bits', ({ prefixBits, value, bytes }) => {
    const cursor = new HpackCursor();
    const block = hex(bytes);
    cursor.open(block, 0, block.length);
    expect(cursor.integer(prefixBits)).toBe(value);
    expect(cursor.at).toBe(cursor.end);
    const out = Buffer.alloc(8);
    const end = writeInteger(out, 0, 0, prefixBits, value);
    expect(out.toString('hex', 0, end)).toBe(bytes);
  });
});

describe('C.2 single fields', () => {
  it.each([
    { block: '400a637573746f6d2d6b65790d637573746f6d2d686561646572', field: ['custom-key', 'custom-header'] },
    { block: '040c2f73616d706c652f70617468', field: [':path', '/sample/path'] },
    { block: '100870617373776f726406736563726574', field: ['password', 'secret'] },
    { block: '82', field: [':method', 'GET'] },
  ])('decodes $field', ({ block, field }) => {
    expect(decode(decoder(), block)).toEqual([field]);
  });
});

const REQUESTS: Header[][] = [
  [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
  ],
  [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
    ['cache-control', 'no-cache'],
  ],
  [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/index.html'],
    [':authority', 'www.example.com'],
    ['custom-key', 'custom-value'],
  ],
];

const PLAIN_REQUESTS = [
  '828684410f7777772e6578616d706c652e636f6d',
  '828684be58086e6f2d6361636865',
  '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
];

const HUFFMAN_REQUESTS = [
  '828684418cf1e3c2e5f23a6ba0ab90f4ff',
  '828684be5886a8eb10649cbf',
  '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
];

describe('C.3 and C.4 requests on one connection', () => {
  it('decodes them without Huffman', () => {
    const target = decoder();
    expect(PLAIN_REQUESTS.map((block) => decode(target, block))).toEqual(REQUESTS);
  });

  it('decodes them with Huffman', () => {
    const target = decoder();
    expect(HUFFMAN_REQUESTS.map((block) => decode(target, block))).toEqual(REQUESTS);
  });

  it('encodes them to the same octets', () => {
    const encoder = new HpackEncoder();
    const out = Buffer.alloc(512);
    const blocks = REQUESTS.map((headers) => out.toString('hex', 0, encoder.encode(headers, out, 0)));
    expect(blocks).toEqual(HUFFMAN_REQUESTS);
  });
});

const SET_COOKIE = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';

const RESPONSES: Header[][] = [
  [
    [':status', '302'],
    ['cache-control', 'private'],
    ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
    ['location', 'https://www.example.com'],
  ],
  [
    [':status', '307'],
    ['cache-control', 'private'],
    ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
    ['location', 'https://www.example.com'],
  ],
  [
    [':status', '200'],
    ['cache-control', 'private'],
    ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'],
    ['location', 'https://www.example.com'],
    ['content-encoding', 'gzip'],
    ['set-cookie', SET_COOKIE],
  ],
];

// The examples assume SETTINGS_HEADER_TABLE_SIZE 256; here a size update says so.
const TABLE_256 = '3fe101';

const PLAIN_RESPONSES = [
  `${TABLE_256} 4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54
   6e1768747470733a2f2f7777772e6578616d706c652e636f6d`,
  '4803333037c1c0bf',
  `88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a58
   4f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31`,
];

const HUFFMAN_RESPONSES = [
  `${TABLE_256} 488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3`,
  '4883640effc1c0bf',
  `88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab27
   0fb5291f9587316065c003ed4ee5b1063d5007`,
];

describe('C.5 and C.6 responses with eviction', () => {
  it('decodes them without Huffman', () => {
    const target = decoder();
    expect(PLAIN_RESPONSES.map((block) => decode(target, block))).toEqual(RESPONSES);
  });

  it('decodes them with Huffman', () => {
    const target = decoder();
    expect(HUFFMAN_RESPONSES.map((block) => decode(target, block))).toEqual(RESPONSES);
  });
});
