// One HTTP request and its response, whatever the version on the wire: the interface that HTTP/1.1 connections and
// HTTP/2 sessions both offer, so that whoever joins two of them knows no version. It is H2Stream with these promises
// added; an HTTP/1.1 exchange looks like an HTTP/2 stream with pseudo headers, lower-case names and no hop-by-hop fields.
//
// - Request headers begin with :method, :scheme, :authority, :path (RFC 9113 section 8.3.1); an HTTP/1.1 Host becomes
//   :authority and is not repeated. CONNECT carries no :scheme and :path.
// - Response headers begin with :status. 1xx other than 101 are informational.
// - Fields that belong to one connection (RFC 9110 section 7.6.1: Connection and what it names, Keep-Alive,
//   Proxy-Connection, TE except `trailers`, Transfer-Encoding, Upgrade) never appear, save for an upgrade: then
//   `:upgrade` holds the protocol's name behind the pseudo headers, and after a 101 both directions are raw bytes.
// - Data that came by onData may go on by writeData from where it lies: every transport leaves head room (HEAD_ROOM), and
//   what lies in front has been read.
// - Nobody flushes: what is written leaves at the end of the loop's turn.
//
// What `onReset` says on HTTP/1.1, where there are no codes on the wire:
//   CONNECT_ERROR      the connection was lost (client: before any byte of the response; a stale keep-alive connection)
//   STREAM_CLOSED      client: cut in the middle of the response, also when a body ends before its declared length
//   CANCEL             server: the client closed its connection, how HTTP/1.1 cancels
//   PROTOCOL_ERROR     the peer sent what is not HTTP/1.1
//   ENHANCE_YOUR_CALM  the peer went over a limit: size of a head, number of 1xx
// And `reset`: on a server after the own direction ended, NO_ERROR means that the rest of the request is not wanted; it
// is thrown away up to a bound and the connection lives on. Any other reset ends the connection.

import type { H2Stream, StreamHandler } from '../h2/stream.ts';

/** Offered by a connection for each request; calls on a stream that is gone do nothing. */
export type HttpStream = H2Stream;

/** Called by the connection; see StreamHandler for when. */
export type HttpStreamHandler = StreamHandler;

export type HttpVersion = '1.0' | '1.1' | '2';
