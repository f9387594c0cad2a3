// The OpenSSL calls of the I/O layer, through FFI, from the OpenSSL that the node binary itself exports (libssl.so.3
// where it does not). Owns signatures and constants of OpenSSL 3; pointers are numbers and never leave mesh/io.

import koffi, { type LibraryHandle } from 'koffi';
import { Slab } from './slab.ts';

function openLibraries(): [LibraryHandle, LibraryHandle] {
  const own = koffi.load(null);
  try {
    own.func('int SSL_CTX_new()');
    return [own, own];
  } catch {
    return [koffi.load('libssl.so.3'), koffi.load('libcrypto.so.3')];
  }
}

const [ssl, crypto] = openLibraries();

type Pointer = number;

export const TLS_method = ssl.func('uintptr_t TLS_method()') as () => Pointer;
export const SSL_CTX_new = ssl.func('uintptr_t SSL_CTX_new(uintptr_t method)') as (
  method: Pointer,
) => Pointer;
export const SSL_CTX_free = ssl.func('void SSL_CTX_free(uintptr_t ctx)') as (context: Pointer) => void;
export const SSL_CTX_ctrl = ssl.func(
  'int64 SSL_CTX_ctrl(uintptr_t ctx, int cmd, int64 larg, uintptr_t parg)',
) as (context: Pointer, command: number, long: number, pointer: Pointer) => number;
export const SSL_CTX_set_options = ssl.func('uint64 SSL_CTX_set_options(uintptr_t ctx, uint64 options)') as (
  context: Pointer,
  options: number,
) => number;
export const SSL_CTX_set_ciphersuites = ssl.func(
  'int SSL_CTX_set_ciphersuites(uintptr_t ctx, const char* list)',
) as (context: Pointer, list: string) => number;
export const SSL_CTX_set_verify = ssl.func(
  'void SSL_CTX_set_verify(uintptr_t ctx, int mode, uintptr_t callback)',
) as (context: Pointer, mode: number, callback: Pointer) => void;
export const SSL_CTX_use_certificate = ssl.func(
  'int SSL_CTX_use_certificate(uintptr_t ctx, uintptr_t x509)',
) as (context: Pointer, certificate: Pointer) => number;
export const SSL_CTX_use_PrivateKey = ssl.func(
  'int SSL_CTX_use_PrivateKey(uintptr_t ctx, uintptr_t key)',
) as (context: Pointer, key: Pointer) => number;
export const SSL_CTX_check_private_key = ssl.func('int SSL_CTX_check_private_key(uintptr_t ctx)') as (
  context: Pointer,
) => number;
export const SSL_CTX_get_cert_store = ssl.func('uintptr_t SSL_CTX_get_cert_store(uintptr_t ctx)') as (
  context: Pointer,
) => Pointer;
export const SSL_CTX_add_client_CA = ssl.func('int SSL_CTX_add_client_CA(uintptr_t ctx, uintptr_t x509)') as (
  context: Pointer,
  certificate: Pointer,
) => number;
export const SSL_CTX_set_alpn_protos = ssl.func(
  'int SSL_CTX_set_alpn_protos(uintptr_t ctx, const uint8_t* protos, uint32 length)',
) as (context: Pointer, protocols: Uint8Array, length: number) => number;
export const SSL_CTX_set_num_tickets = ssl.func(
  'int SSL_CTX_set_num_tickets(uintptr_t ctx, size_t count)',
) as (context: Pointer, count: number) => number;
export const SSL_CTX_set_default_read_buffer_len = ssl.func(
  'void SSL_CTX_set_default_read_buffer_len(uintptr_t ctx, size_t length)',
) as (context: Pointer, length: number) => void;

export const SSL_new = ssl.func('uintptr_t SSL_new(uintptr_t ctx)') as (context: Pointer) => Pointer;
export const SSL_free = ssl.func('void SSL_free(uintptr_t ssl)') as (connection: Pointer) => void;
export const SSL_set_fd = ssl.func('int SSL_set_fd(uintptr_t ssl, int fd)') as (
  connection: Pointer,
  fd: number,
) => number;
export const SSL_set0_wbio = ssl.func('void SSL_set0_wbio(uintptr_t ssl, uintptr_t bio)') as (
  connection: Pointer,
  bio: Pointer,
) => void;
export const SSL_set_read_ahead = ssl.func('void SSL_set_read_ahead(uintptr_t ssl, int yes)') as (
  connection: Pointer,
  yes: number,
) => void;
export const SSL_set_connect_state = ssl.func('void SSL_set_connect_state(uintptr_t ssl)') as (
  connection: Pointer,
) => void;
export const SSL_set_accept_state = ssl.func('void SSL_set_accept_state(uintptr_t ssl)') as (
  connection: Pointer,
) => void;
export const SSL_do_handshake = ssl.func('int SSL_do_handshake(uintptr_t ssl)') as (
  connection: Pointer,
) => number;
export const SSL_read = ssl.func('int SSL_read(uintptr_t ssl, uintptr_t buffer, int length)') as (
  connection: Pointer,
  buffer: Pointer,
  length: number,
) => number;
export const SSL_write = ssl.func('int SSL_write(uintptr_t ssl, uintptr_t buffer, int length)') as (
  connection: Pointer,
  buffer: Pointer,
  length: number,
) => number;
export const SSL_shutdown = ssl.func('int SSL_shutdown(uintptr_t ssl)') as (connection: Pointer) => number;
export const SSL_free_buffers = ssl.func('int SSL_free_buffers(uintptr_t ssl)') as (
  connection: Pointer,
) => number;
export const SSL_get_error = ssl.func('int SSL_get_error(uintptr_t ssl, int result)') as (
  connection: Pointer,
  result: number,
) => number;
export const SSL_get_verify_result = ssl.func('int64 SSL_get_verify_result(uintptr_t ssl)') as (
  connection: Pointer,
) => number;
export const SSL_get1_peer_certificate = ssl.func('uintptr_t SSL_get1_peer_certificate(uintptr_t ssl)') as (
  connection: Pointer,
) => Pointer;
const SSL_get0_alpn_selected = ssl.func(
  'void SSL_get0_alpn_selected(uintptr_t ssl, uintptr_t data, uintptr_t length)',
) as (connection: Pointer, data: Pointer, length: Pointer) => void;
export const SSL_ctrl = ssl.func('int64 SSL_ctrl(uintptr_t ssl, int cmd, int64 larg, uintptr_t parg)') as (
  connection: Pointer,
  command: number,
  long: number,
  pointer: Pointer,
) => number;
export const SSL_group_to_name = ssl.func('const char* SSL_group_to_name(uintptr_t ssl, int id)') as (
  connection: Pointer,
  id: number,
) => string | null;

export const BIO_new_mem_buf = crypto.func('uintptr_t BIO_new_mem_buf(const uint8_t* data, int length)') as (
  data: Uint8Array,
  length: number,
) => Pointer;
export const BIO_free = crypto.func('int BIO_free(uintptr_t bio)') as (bio: Pointer) => number;
export const BIO_new_bio_pair = crypto.func(
  'int BIO_new_bio_pair(uintptr_t bio1, size_t size1, uintptr_t bio2, size_t size2)',
) as (first: Pointer, firstSize: number, second: Pointer, secondSize: number) => number;
export const BIO_nread0 = crypto.func('int BIO_nread0(uintptr_t bio, uintptr_t out)') as (
  bio: Pointer,
  out: Pointer,
) => number;
export const BIO_nread = crypto.func('int BIO_nread(uintptr_t bio, uintptr_t out, int count)') as (
  bio: Pointer,
  out: Pointer,
  count: number,
) => number;
export const SSL_has_pending = ssl.func('int SSL_has_pending(uintptr_t ssl)') as (
  connection: Pointer,
) => number;
export const SSL_get_rbio = ssl.func('uintptr_t SSL_get_rbio(uintptr_t ssl)') as (
  connection: Pointer,
) => Pointer;
export const BIO_number_read = crypto.func('uint64 BIO_number_read(uintptr_t bio)') as (
  bio: Pointer,
) => number;
export const PEM_read_bio_X509 = crypto.func(
  'uintptr_t PEM_read_bio_X509(uintptr_t bio, uintptr_t x, uintptr_t callback, uintptr_t user)',
) as (bio: Pointer, x: Pointer, callback: Pointer, user: Pointer) => Pointer;
export const PEM_read_bio_PrivateKey = crypto.func(
  'uintptr_t PEM_read_bio_PrivateKey(uintptr_t bio, uintptr_t x, uintptr_t callback, uintptr_t user)',
) as (bio: Pointer, x: Pointer, callback: Pointer, user: Pointer) => Pointer;
export const X509_free = crypto.func('void X509_free(uintptr_t x509)') as (certificate: Pointer) => void;
export const EVP_PKEY_free = crypto.func('void EVP_PKEY_free(uintptr_t key)') as (key: Pointer) => void;
export const X509_STORE_add_cert = crypto.func(
  'int X509_STORE_add_cert(uintptr_t store, uintptr_t x509)',
) as (store: Pointer, certificate: Pointer) => number;
export const i2d_X509 = crypto.func('int i2d_X509(uintptr_t x509, uintptr_t out)') as (
  certificate: Pointer,
  out: Pointer,
) => number;
export const X509_verify_cert_error_string = crypto.func(
  'const char* X509_verify_cert_error_string(int64 code)',
) as (code: number) => string;
export const ERR_get_error = crypto.func('uint64 ERR_get_error()') as () => number;
export const ERR_clear_error = crypto.func('void ERR_clear_error()') as () => void;
const ERR_reason_error_string = crypto.func('const char* ERR_reason_error_string(uint64 code)') as (
  code: number,
) => string | null;

export const SSL_CTRL_EXTRA_CHAIN_CERT = 14;
export const SSL_CTRL_MODE = 33;
export const SSL_CTRL_SET_SESS_CACHE_MODE = 44;
export const SSL_CTRL_SET_GROUPS_LIST = 92;
export const SSL_CTRL_SET_MIN_PROTO_VERSION = 123;
export const SSL_CTRL_GET_NEGOTIATED_GROUP = 134;
export const SSL_MODE_ENABLE_PARTIAL_WRITE = 1;
export const SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER = 2;
export const SSL_OP_NO_RENEGOTIATION = 2 ** 30;
export const SSL_OP_IGNORE_UNEXPECTED_EOF = 2 ** 7;
export const SSL_VERIFY_PEER = 1;
export const SSL_VERIFY_FAIL_IF_NO_PEER_CERT = 2;
export const TLS1_3_VERSION = 0x0304;
export const SSL_ERROR_SSL = 1;
export const SSL_ERROR_WANT_READ = 2;
export const SSL_ERROR_WANT_WRITE = 3;
export const SSL_ERROR_SYSCALL = 5;
export const SSL_ERROR_ZERO_RETURN = 6;
export const X509_V_OK = 0;

/** The oldest entry of this thread's error queue as text, the queue emptied: `''` when there was none. */
export function takeErrorReason(): string {
  const code = ERR_get_error();
  ERR_clear_error();
  return code === 0 ? '' : (ERR_reason_error_string(code) ?? `OpenSSL error ${code.toString(16)}`);
}

const selectAlpn = koffi.proto(
  'int WeftAlpnSelect(uintptr_t ssl, uintptr_t out, uintptr_t outlen, uintptr_t in, uint32 inlen, uintptr_t arg)',
);
const setAlpnSelect = ssl.func('SSL_CTX_set_alpn_select_cb', 'void', [
  'uintptr_t',
  koffi.pointer(selectAlpn),
  'uintptr_t',
]) as (context: Pointer, callback: unknown, argument: Pointer) => void;

const protocol = new Slab(2);
protocol.bytes.write('h2', 'latin1');
const SSL_TLSEXT_ERR_OK = 0;
const SSL_TLSEXT_ERR_ALERT_FATAL = 2;
let alpnCallback: unknown;

/** Makes a server context select `h2` and refuse (no_application_protocol, RFC 7301) a client that does not offer it. */
export function requireH2(context: Pointer): void {
  // One callback for each thread: it must be called on the thread that registered it.
  alpnCallback ??= koffi.register(
    (_ssl: number, out: number, outLength: number, offered: number, offeredLength: number) => {
      const list = Buffer.from(koffi.decode(offered, 'uint8_t', offeredLength) as Uint8Array);
      for (let at = 0; at < list.length; at += 1 + (list[at] ?? 0)) {
        if (list[at] === 2 && list.toString('latin1', at + 1, at + 3) === 'h2') {
          // Through the Slab, so that the memory lives as long as the callback.
          koffi.encode(out, 'uintptr_t', protocol.address);
          koffi.encode(outLength, 'uint8_t', 2);
          return SSL_TLSEXT_ERR_OK;
        }
      }
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    },
    koffi.pointer(selectAlpn),
  );
  setAlpnSelect(context, alpnCallback, 0);
}

const selected = new Slab(16);

/** True when the handshake agreed on `h2`. A client that offers nothing is not refused by OpenSSL, so ask. */
export function agreedOnH2(connection: Pointer): boolean {
  SSL_get0_alpn_selected(connection, selected.address, selected.address + 8);
  if (selected.bytes.readUInt32LE(8) !== 2) return false;
  const name = koffi.decode(selected.pointerAt(0), 'uint8_t', 2) as Uint8Array;
  return name[0] === 0x68 && name[1] === 0x32;
}
