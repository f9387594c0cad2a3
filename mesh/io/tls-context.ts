// The TLS settings of one identity: its key, its chain, the roots it trusts. TLS 1.3 only, both sides verified, ALPN
// h2, no resumption. X25519MLKEM768 is offered first where OpenSSL has it. A context never changes: a renewed
// certificate is a new context, and connections made with the old one live on.

import { IoError } from './io-error.ts';
import * as openssl from './openssl.ts';
import { takeErrorReason } from './openssl.ts';
import { Slab } from './slab.ts';

export interface TlsCredentials {
  /** PKCS#8. */
  readonly privateKeyPem: string;
  /** Leaf first, then intermediates. */
  readonly chainPem: string;
  /** One or several roots. */
  readonly rootsPem: string;
}

/**
 * What OpenSSL reads from the kernel at once: four full records. It moves what it has read ahead to the front of its
 * buffer for each record, so a larger buffer costs more copying than it saves reads (docs/PERFORMANCE.md).
 */
export const readAheadBytes = 64 * 1024;

const postQuantumGroups = 'X25519MLKEM768:X25519:P-256:P-384';
const classicGroups = 'X25519:P-256:P-384';

export class TlsContext {
  /** SSL_CTX*, for mesh/io only. */
  readonly pointer: number;
  readonly role: 'client' | 'server';
  #freed = false;

  /** @throws IoError tls-credentials-invalid when a PEM does not parse or key and certificate do not belong together. */
  constructor(role: 'client' | 'server', credentials: TlsCredentials) {
    this.role = role;
    openssl.ERR_clear_error();
    this.pointer = openssl.SSL_CTX_new(openssl.TLS_method());
    try {
      this.#configure();
      this.#load(credentials);
    } catch (error) {
      openssl.SSL_CTX_free(this.pointer);
      throw error;
    }
  }

  /** Connections made from the context keep what they need of it. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#freed) return;
    this.#freed = true;
    openssl.SSL_CTX_free(this.pointer);
  }

  #configure(): void {
    const context = this.pointer;
    openssl.SSL_CTX_ctrl(context, openssl.SSL_CTRL_SET_MIN_PROTO_VERSION, openssl.TLS1_3_VERSION, 0);
    openssl.SSL_CTX_set_ciphersuites(context, 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384');
    if (setGroups(context, postQuantumGroups) !== 1) {
      openssl.ERR_clear_error();
      if (setGroups(context, classicGroups) !== 1) throw invalid('select the key exchange groups');
    }
    openssl.SSL_CTX_ctrl(context, openssl.SSL_CTRL_MODE, openssl.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, 0);
    openssl.SSL_CTX_ctrl(context, openssl.SSL_CTRL_SET_SESS_CACHE_MODE, 0, 0);
    openssl.SSL_CTX_set_num_tickets(context, 0);
    openssl.SSL_CTX_set_default_read_buffer_len(context, readAheadBytes + 8 * 1024);
    openssl.SSL_CTX_set_verify(context, openssl.SSL_VERIFY_PEER | openssl.SSL_VERIFY_FAIL_IF_NO_PEER_CERT, 0);
    if (this.role === 'server') openssl.requireH2(context);
    else openssl.SSL_CTX_set_alpn_protos(context, Buffer.from('\x02h2', 'latin1'), 3);
  }

  #load(credentials: TlsCredentials): void {
    const context = this.pointer;
    const [leaf, ...intermediates] = readCertificates(credentials.chainPem, 'the certificate chain');
    if (leaf === undefined) throw invalid('find a certificate in the chain');
    const used = openssl.SSL_CTX_use_certificate(context, leaf);
    openssl.X509_free(leaf);
    if (used !== 1) throw invalid('use the certificate');
    for (const certificate of intermediates) {
      // Takes ownership of the certificate.
      openssl.SSL_CTX_ctrl(context, openssl.SSL_CTRL_EXTRA_CHAIN_CERT, 0, certificate);
    }
    const key = readPrivateKey(credentials.privateKeyPem);
    const keyUsed = openssl.SSL_CTX_use_PrivateKey(context, key);
    openssl.EVP_PKEY_free(key);
    if (keyUsed !== 1 || openssl.SSL_CTX_check_private_key(context) !== 1) {
      throw invalid('match the private key with the certificate');
    }
    const store = openssl.SSL_CTX_get_cert_store(context);
    const roots = readCertificates(credentials.rootsPem, 'the roots');
    if (roots.length === 0) throw invalid('find a root certificate');
    for (const root of roots) {
      openssl.X509_STORE_add_cert(store, root);
      // RFC 8446 section 4.2.4: the CertificateRequest names the authorities that will be accepted.
      if (this.role === 'server') openssl.SSL_CTX_add_client_CA(context, root);
      openssl.X509_free(root);
    }
    openssl.ERR_clear_error();
  }
}

function setGroups(context: number, list: string): number {
  const text = new Slab(list.length + 1);
  text.bytes.write(`${list}\0`, 'latin1');
  return openssl.SSL_CTX_ctrl(context, openssl.SSL_CTRL_SET_GROUPS_LIST, 0, text.address);
}

function readCertificates(pem: string, what: string): number[] {
  const data = Buffer.from(pem, 'latin1');
  const bio = openssl.BIO_new_mem_buf(data, data.length);
  const found: number[] = [];
  try {
    for (;;) {
      const certificate = openssl.PEM_read_bio_X509(bio, 0, 0, 0);
      if (certificate === 0) break;
      found.push(certificate);
    }
  } finally {
    openssl.BIO_free(bio);
  }
  const blocks = pem.split('-----BEGIN CERTIFICATE-----').length - 1;
  if (found.length !== blocks) {
    for (const certificate of found) openssl.X509_free(certificate);
    throw invalid(`read certificate ${found.length + 1} of ${blocks} of ${what}`);
  }
  openssl.ERR_clear_error();
  return found;
}

function readPrivateKey(pem: string): number {
  const data = Buffer.from(pem, 'latin1');
  const bio = openssl.BIO_new_mem_buf(data, data.length);
  try {
    const key = openssl.PEM_read_bio_PrivateKey(bio, 0, 0, 0);
    if (key === 0) throw invalid('read the private key');
    return key;
  } finally {
    openssl.BIO_free(bio);
    data.fill(0);
  }
}

function invalid(what: string): IoError {
  const reason = takeErrorReason();
  return new IoError('tls-credentials-invalid', `Could not ${what}${reason === '' ? '' : `: ${reason}`}`);
}
