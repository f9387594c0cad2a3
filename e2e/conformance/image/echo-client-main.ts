#!/usr/local/bin/node
// `client URL [--method=M] [-H NAME:VALUE]... [--count=N]` in the suite's pods: calls an http, https, grpc or tcp URL and
// prints each answer as lines of NAME=VALUE, with a blank line between two. One call that fails fails them all. Redirects
// are not followed.

import { type IncomingMessage, request as httpRequest } from 'node:http';
import { connect as connectHttp2, constants } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { parseArgs } from 'node:util';
import { decodeEcho, echoMethod, encodeEcho } from './grpc-echo.ts';

const timeoutMs = 10_000;
const parallel = 8;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    method: { type: 'string', default: 'GET' },
    header: { type: 'string', short: 'H', multiple: true, default: [] },
    count: { type: 'string', default: '1' },
  },
});
const url = new URL(positionals[0] ?? '');
const headers = Object.fromEntries(
  flags.header.map((text) => {
    const colon = text.indexOf(':');
    return [text.slice(0, colon), text.slice(colon + 1).trim()];
  }),
);

/** Each on a connection of its own. */
function callHttp(): Promise<string> {
  return new Promise((resolve, reject) => {
    const secure = url.protocol === 'https:';
    const options = { method: flags.method, headers, agent: false, timeout: timeoutMs };
    const onAnswer = (answer: IncomingMessage) => void readHttp(answer).then(resolve, reject);
    const call = secure
      ? httpsRequest(url, { ...options, rejectUnauthorized: false }, onAnswer)
      : httpRequest(url, options, onAnswer);
    call.on('timeout', () => call.destroy(new Error('no answer in time')));
    call.on('error', reject).end();
  });
}

async function readHttp(answer: IncomingMessage): Promise<string> {
  answer.setEncoding('utf8');
  let body = '';
  for await (const chunk of answer) body += String(chunk);
  const { statusCode, rawHeaders } = answer;
  const found: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    found.push(`ResponseHeader=${rawHeaders[index]}:${rawHeaders[index + 1]}`);
  }
  return describe(String(statusCode), found, body);
}

function describe(status: string, found: readonly string[], body: string): string {
  const quoted = body
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => `[body] ${line}`);
  return [`Url=${url.href}`, `StatusCode=${status}`, ...found, ...quoted].join('\n');
}

/** All calls share one connection, so that what is between spreads calls and not connections. */
function grpcCaller(): { call: () => Promise<string>; end: () => void } {
  const session = connectHttp2(`http://${url.host}`);
  const failed = new Promise<never>((_, reject) => session.on('error', reject));
  failed.catch(() => {});
  return { call: () => Promise.race([failed, callGrpc(session)]), end: () => session.close() };
}

function callGrpc(session: ReturnType<typeof connectHttp2>): Promise<string> {
  return new Promise((resolve, reject) => {
    const grpc = { 'content-type': 'application/grpc', te: 'trailers' };
    const stream = session.request({ ...headers, ...grpc, ':method': 'POST', ':path': echoMethod });
    const found: string[] = [];
    const chunks: Buffer[] = [];
    let grpcStatus: unknown;
    let httpStatus: unknown;
    const read = (fields: NodeJS.Dict<string | string[] | number>) => {
      httpStatus = fields[':status'] ?? httpStatus;
      grpcStatus = fields['grpc-status'] ?? grpcStatus;
      for (const [name, value] of Object.entries(fields))
        found.push(`ResponseHeader=${name}:${String(value)}`);
    };
    stream.setTimeout(timeoutMs, () => stream.close(constants.NGHTTP2_CANCEL));
    stream.on('response', read).on('trailers', read).on('error', reject);
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('close', () => {
      if (httpStatus !== 200 || grpcStatus !== '0') {
        reject(new Error(`gRPC status ${String(grpcStatus)}, HTTP status ${String(httpStatus)}`));
        return;
      }
      resolve(describe('200', found, decodeEcho(Buffer.concat(chunks))));
    });
    stream.end(encodeEcho('hello'));
  });
}

function callTcp(): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host: url.hostname, port: Number(url.port), timeout: timeoutMs });
    let body = '';
    socket.setEncoding('utf8').on('data', (chunk) => (body += String(chunk)));
    socket.on('timeout', () => socket.destroy(new Error('no answer in time'))).on('error', reject);
    socket.on('end', () => resolve(describe('200', [], body)));
    socket.write('hello\n');
  });
}

async function printAll(call: () => Promise<string>): Promise<void> {
  let left = Number(flags.count);
  const answers: string[] = [];
  const worker = async () => {
    while (left-- > 0) answers.push(await call());
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  process.stdout.write(`${answers.join('\n\n')}\n`);
}

try {
  if (url.protocol === 'grpc:') {
    const { call, end } = grpcCaller();
    await printAll(call);
    end();
  } else {
    await printAll(url.protocol === 'tcp:' ? callTcp : callHttp);
  }
} catch (error) {
  console.error(`client: ${(error as Error).message}`);
  process.exit(1);
}
