// One mutually authenticated TLS connection on the loop, as transport of an HTTP/2 session. Handshake with a deadline,
// identity check before a byte of user data moves either way, reading with read-ahead into one slab a thread, writing
// through a ring, orderly end with close_notify. States: handshake -> open -> ending -> closed.

import type { H2Transport } from '../h2/transport.ts';
import type { Identity } from '../model/spiffe-id.ts';
import type { Timer } from '../runtime/clock.ts';
import { IoError } from './io-error.ts';
import * as libc from './libc.ts';
import * as openssl from './openssl.ts';
import { takeErrorReason } from './openssl.ts';
import { peerIdentities } from './peer-certificate.ts';
import { ENDED, type IoHandler, READABLE, type Reactor, type TurnTask, WRITABLE } from './reactor.ts';
import { HEAD_ROOM, Slab } from './slab.ts';
import type { DialledSocket } from './tcp-dial.ts';
import type { TlsContext } from './tls-context.ts';
import { readAheadBytes } from './tls-context.ts';
import { BLOCKED, BROKEN, recordOverhead, TlsRing } from './tls-ring.ts';

/** What runs on the connection once it is up. */
export interface TlsSink {
  /** Bytes are valid only during the call. */
  receive(slab: Slab, offset: number, length: number): void;
  /** The ring ran empty after `room()` had been short. */
  onTransportWritable(): void;
  /** The connection is gone; `error` is undefined after an orderly end. Called once. */
  transportClosed(error: IoError | undefined): void;
}

export interface TlsConnectionOptions {
  /** Default 10,000 ms, from the constructor to the finished handshake. */
  readonly handshakeTimeoutMs?: number;
  /** The reason to refuse the peer, or undefined. Runs before any user data. */
  readonly verifyPeer: (identities: readonly Identity[]) => string | undefined;
  /** The handshake is done and the peer accepted: returns what runs on the connection. */
  readonly onUp: (identities: readonly Identity[]) => TlsSink;
  /** The handshake failed; no sink was made. */
  readonly onFailed: (error: IoError) => void;
}

const ringBytes = 320 * 1024;
/** Less room than this counts as none: better to wait for the kernel than to send scraps. */
const shortRoom = 16 * 1024;
/** Less than this was a short read, whatever OpenSSL's read buffer has room for. */
const shortReadBytes = readAheadBytes / 2;
const readRoundsPerTurn = 4;
const endTimeoutMs = 2_000;
/** A tunnel through which nothing came for so long gives OpenSSL's buffers back, some 90 KB. */
const idleBuffersMs = 2_000;
/** Plain bytes handed on at once. */
const plainBytes = 256 * 1024;
const plain = new Slab(HEAD_ROOM + plainBytes + 16_384);

export class TlsConnection implements IoHandler, H2Transport, TurnTask {
  readonly fd: number;
  #reactor: Reactor;
  #options: TlsConnectionOptions;
  #ssl: number;
  #rbio: number;
  /** Bytes OpenSSL had read from the socket when it was last asked. */
  #received = 0;
  /** How many of them are not decrypted yet, at least where `#counted`. */
  #held = 0;
  /** `#held` is known; else OpenSSL must be asked. */
  #counted = false;
  /** OpenSSL holds bytes: its next read of the socket may be for the rest of a record only, not for all there is. */
  #pending = false;
  /** Something was read since the last check whether the connection is idle. */
  #busy = false;
  #idleCheck: Timer | undefined;
  #ring = new TlsRing(ringBytes);
  #state: 'handshake' | 'open' | 'ending' | 'closed' = 'handshake';
  #sink: TlsSink | undefined;
  #timer: Timer | undefined;
  #blocked = false;
  /** Somebody found too little room; told when the ring is empty again. */
  #starved = false;
  #flushing = false;

  /**
   * Takes ownership of a connected, non-blocking socket: accepted (a plain number) or dialled. The first callback comes
   * from the loop, not from here.
   */
  constructor(
    reactor: Reactor,
    socket: number | DialledSocket,
    context: TlsContext,
    options: TlsConnectionOptions,
  ) {
    this.fd = typeof socket === 'number' ? socket : socket.fd;
    this.#reactor = reactor;
    this.#options = options;
    this.#ssl = openssl.SSL_new(context.pointer);
    openssl.SSL_set_fd(this.#ssl, this.fd);
    openssl.SSL_set0_wbio(this.#ssl, this.#ring.inner);
    this.#rbio = openssl.SSL_get_rbio(this.#ssl);
    openssl.SSL_set_read_ahead(this.#ssl, 1);
    if (context.role === 'server') openssl.SSL_set_accept_state(this.#ssl);
    else openssl.SSL_set_connect_state(this.#ssl);
    const timeoutMs = options.handshakeTimeoutMs ?? 10_000;
    this.#timer = reactor.after(timeoutMs, () => this.#handshakeTimedOut(timeoutMs));
    // A connected socket is reported writable at once, which starts the handshake.
    if (typeof socket === 'number') reactor.register(this.fd, this);
    else reactor.adopt(this.fd, this, { ready: true });
  }

  /** Name of the key exchange group of this connection, for example `X25519MLKEM768`; `''` before the handshake. */
  groupName(): string {
    if (this.#state === 'closed') return '';
    const id = openssl.SSL_ctrl(this.#ssl, openssl.SSL_CTRL_GET_NEGOTIATED_GROUP, 0, 0);
    return openssl.SSL_group_to_name(this.#ssl, id) ?? '';
  }

  onReady(events: number): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'handshake') return this.#handshake();
    if ((events & WRITABLE) !== 0 && (this.#blocked || this.#starved)) this.#onWritable();
    if ((events & READABLE) !== 0) this.#read((events & ENDED) !== 0);
  }

  room(): number {
    if (this.#state !== 'open') return 0;
    const room = this.#ring.room();
    if (room >= shortRoom) return room;
    this.#starved = true;
    return 0;
  }

  write(slab: Slab, offset: number, length: number): void {
    if (this.#state !== 'open') return;
    const count = openssl.SSL_write(this.#ssl, slab.address + offset, length);
    if (count !== length) return this.#tlsFailed(`write ${length} bytes`, count);
    this.#ring.wrote(length);
  }

  /** Sends at the end of the turn: the frames of many streams then share one send(). */
  flush(): void {
    if (this.#blocked || this.#ring.empty) return;
    // Somebody waits for room: make it now.
    if (this.#starved && this.#state === 'open') {
      if (this.#send()) this.#starved = false;
      return;
    }
    if (this.#flushing) return;
    this.#flushing = true;
    this.#reactor.atTurnEnd(this);
  }

  onTurnEnd(): void {
    this.#flushing = false;
    if (this.#blocked || this.#ring.empty || this.#state === 'closed') return;
    if (this.#send() && this.#starved) this.#reactor.defer(this);
  }

  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    openssl.SSL_shutdown(this.#ssl);
    openssl.ERR_clear_error();
    this.#ring.wroteControl();
    this.#timer = this.#reactor.after(endTimeoutMs, () => this.#close(undefined));
    if (!this.#blocked) this.#send();
  }

  /** Drops the connection at once; before the handshake is done `onFailed` gets code `closed`. Idempotent. */
  destroy(): void {
    if (this.#state === 'handshake') return this.#handshakeFailed('closed', 'given up by this side');
    this.#close(undefined);
  }

  #handshake(): void {
    openssl.ERR_clear_error();
    const result = openssl.SSL_do_handshake(this.#ssl);
    this.#ring.wroteControl();
    const code = result === 1 ? 0 : openssl.SSL_get_error(this.#ssl, result);
    const failed =
      code !== 0 && code !== openssl.SSL_ERROR_WANT_READ && code !== openssl.SSL_ERROR_WANT_WRITE;
    // Read the reason before the alert is flushed: sending may touch the error queue.
    const reason = failed ? this.#handshakeReason() : '';
    this.#blocked = this.#ring.flush(this.fd) === BLOCKED;
    if (failed) return this.#handshakeFailed('tls-handshake-failed', reason);
    if (result === 1) this.#up();
  }

  #up(): void {
    if (!openssl.agreedOnH2(this.#ssl))
      return this.#handshakeFailed('tls-handshake-failed', 'the peer does not speak h2 (ALPN)');
    const identities = peerIdentities(this.#ssl);
    const refusal = this.#options.verifyPeer(identities);
    if (refusal !== undefined) return this.#handshakeFailed('tls-identity-rejected', refusal);
    this.#timer?.cancel();
    this.#state = 'open';
    const sink = this.#options.onUp(identities);
    // What ran in there may have dropped the connection already.
    if (this.#closed()) return sink.transportClosed(undefined);
    this.#sink = sink;
    this.flush();
    openssl.ERR_clear_error();
    // The handshake reads piece by piece: what came right behind it brings no edge of its own.
    this.#askPending();
    this.#read(true);
  }

  #onWritable(): void {
    this.#blocked = false;
    if (!this.#send()) return;
    if (this.#state === 'open') {
      this.#starved = false;
      this.#sink?.onTransportWritable();
      this.flush();
    }
  }

  /** True when the ring is empty. */
  #send(): boolean {
    const outcome = this.#ring.flush(this.fd);
    if (outcome === BLOCKED) {
      this.#blocked = true;
      return false;
    }
    if (outcome === BROKEN) {
      this.#close(brokenBy(this.#ring.error));
      return false;
    }
    if (this.#state === 'ending') libc.shutdown(this.fd, libc.SHUT_WR);
    return true;
  }

  /**
   * SSL_get_error is right only if nothing else left an error in this thread's queue (SSL_get_error(3)): whatever fails in
   * this folder empties it.
   * @param thorough reads until the kernel has nothing left, also where a short read tells that it has nothing.
   */
  #read(thorough: boolean): void {
    let emptied = false;
    this.#keepBuffers();
    for (let round = 0; round < readRoundsPerTurn; round++) {
      let filled = 0;
      while (filled < plainBytes) {
        const wide = !this.#pending;
        const count = openssl.SSL_read(
          this.#ssl,
          plain.address + HEAD_ROOM + filled,
          plain.bytes.length - HEAD_ROOM - filled,
        );
        if (count <= 0) {
          // Asked at once: what the sink does with the bytes before may write, which changes the answer.
          const code = openssl.SSL_get_error(this.#ssl, count);
          const errno = code === openssl.SSL_ERROR_SYSCALL ? libc.errno() : 0;
          this.#askPending();
          this.#deliver(filled);
          this.#readEnded(code, errno);
          return;
        }
        filled += count;
        const arrived = this.#countRecord(count);
        if (wide && !thorough && arrived < shortReadBytes) emptied = true;
        if (emptied && !this.#pending) return this.#deliver(filled);
      }
      this.#deliver(filled);
      if (this.#closed()) return;
    }
    this.#reactor.defer(this);
  }

  /**
   * Bytes that came from the socket for a record of `plain` bytes. After a wide read, one that began with nothing in
   * OpenSSL's buffer, fewer than were asked for are all the kernel had: new bytes then bring a new edge (epoll(7)), and a
   * failing read is saved for every small message. A read in the middle of a record says nothing: OpenSSL asks for
   * exactly the rest of it (tls_get_more_records).
   * What OpenSSL still holds is counted, not asked for. A record takes at least `plain + recordOverhead`; one with padding,
   * or a message to OpenSSL itself, takes more: then too much is thought to be held, and reading goes on until it finds
   * nothing and asks.
   */
  #countRecord(plain: number): number {
    const record = plain + recordOverhead;
    if (this.#counted && this.#held >= record) {
      this.#held -= record;
      this.#pending = this.#held > 0;
      return 0;
    }
    const total = openssl.BIO_number_read(this.#rbio);
    const arrived = total - this.#received;
    this.#received = total;
    if (this.#counted) {
      this.#held += arrived - record;
      this.#pending = this.#held > 0;
    } else {
      this.#askPending();
    }
    return arrived;
  }

  #askPending(): void {
    this.#received = openssl.BIO_number_read(this.#rbio);
    this.#pending = openssl.SSL_has_pending(this.#ssl) !== 0;
    this.#counted = !this.#pending;
    this.#held = 0;
  }

  /** OpenSSL could free its buffers after each record by itself (SSL_MODE_RELEASE_BUFFERS), to make them anew for the next. */
  #keepBuffers(): void {
    this.#busy = true;
    this.#idleCheck ??= this.#reactor.after(idleBuffersMs, () => this.#checkIdle());
  }

  #checkIdle(): void {
    this.#idleCheck = undefined;
    if (this.#busy) {
      this.#keepBuffers();
      this.#busy = false;
    } else if (openssl.SSL_free_buffers(this.#ssl) !== 1) {
      openssl.ERR_clear_error();
    }
  }

  #deliver(length: number): void {
    if (length > 0 && this.#state === 'open') this.#sink?.receive(plain, HEAD_ROOM, length);
  }

  // A method, so that the compiler does not take an earlier check of #state for still true after a callback.
  #closed(): boolean {
    return this.#state === 'closed';
  }

  #readEnded(code: number, errno: number): void {
    if (this.#closed()) return;
    if (code === openssl.SSL_ERROR_WANT_READ || code === openssl.SSL_ERROR_WANT_WRITE) return;
    if (code === openssl.SSL_ERROR_ZERO_RETURN) {
      // RFC 8446 section 6.1: each side says close_notify; as far as it goes out at once.
      if (this.#state === 'open' && openssl.SSL_shutdown(this.#ssl) >= 0) this.#ring.flush(this.fd);
      this.#close(undefined);
    } else if (code === openssl.SSL_ERROR_SYSCALL) {
      this.#close(brokenBy(errno === 0 ? libc.ECONNRESET : errno));
    } else {
      const reason = takeErrorReason();
      // After our own end many peers just close.
      if (this.#state === 'ending') return this.#close(undefined);
      this.#close(
        new IoError('tls-failed', `TLS connection broke: ${reason === '' ? 'protocol error' : reason}`),
      );
    }
  }

  #tlsFailed(what: string, result: number): void {
    const code = openssl.SSL_get_error(this.#ssl, result);
    this.#close(new IoError('tls-failed', `Could not ${what} to TLS: ${takeErrorReason()} (${code})`));
  }

  #handshakeReason(): string {
    const verified = openssl.SSL_get_verify_result(this.#ssl);
    const reason = takeErrorReason();
    if (verified !== openssl.X509_V_OK)
      return `peer certificate: ${openssl.X509_verify_cert_error_string(verified)}`;
    return reason === '' ? 'the peer closed the connection' : reason;
  }

  #handshakeTimedOut(timeoutMs: number): void {
    this.#handshakeFailed('tls-handshake-timeout', `not finished in ${timeoutMs} ms`);
  }

  #handshakeFailed(
    code: 'tls-handshake-failed' | 'tls-handshake-timeout' | 'tls-identity-rejected' | 'closed',
    reason: string,
  ): void {
    if (this.#closed()) return;
    this.#close(undefined);
    this.#options.onFailed(new IoError(code, `TLS handshake failed: ${reason}`));
  }

  #close(error: IoError | undefined): void {
    if (this.#closed()) return;
    this.#state = 'closed';
    this.#timer?.cancel();
    this.#idleCheck?.cancel();
    this.#reactor.forget(this.fd);
    openssl.SSL_free(this.#ssl);
    this.#ring.free();
    libc.close(this.fd);
    openssl.ERR_clear_error();
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.transportClosed(error);
  }
}

function brokenBy(code: number): IoError {
  return new IoError('connection-reset', `Connection broke: ${libc.describeErrno(code)}`, { errno: code });
}
