// One TLS connection of a node to its controller: channel options and server verification. Made anew for every
// attempt, so that roots and addresses are read again and grpc-js keeps no backoff of its own.

import { checkServerIdentity, createSecureContext, type PeerCertificate } from 'node:tls';
import { type ChannelOptions, Client, credentials } from '@grpc/grpc-js';
import { type HostPort, parseHostPort, parseIpAddress } from '../model/ip-address.ts';
import './grpc-log.ts';
import { XdsError } from './xds-error.ts';

/** 200 MiB, as the Istio node tunnel takes (WIRE 3.1). */
const maxMessageBytes = 200 * 1024 * 1024;

const channelOptions: ChannelOptions = {
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_send_message_length': maxMessageBytes,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_retries': 0,
  // The controller is part of the mesh, never behind the forward proxy of the environment.
  'grpc.enable_http_proxy': 0,
};

export interface ChannelTarget {
  /** From parseControllerAddress. */
  readonly address: HostPort;
  /** PEM. */
  readonly rootCertificates: string;
  /** A second name that the server's certificate may have. */
  readonly serverName?: string | undefined;
}

/** `host:port` or `https://host:port`; anything without TLS is refused. Throws XdsError ADDRESS_INVALID. */
export function parseControllerAddress(text: string): HostPort {
  const [, scheme = 'https', rest = ''] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/i.exec(text) ?? [];
  if (scheme.toLowerCase() !== 'https') {
    throw new XdsError(
      'ADDRESS_INVALID',
      `Unsupported scheme "${scheme}" in "${text}"; the controller is reached by TLS only`,
    );
  }
  const address = parseHostPort(rest.replace(/\/$/, ''));
  if (address === undefined) {
    throw new XdsError(
      'ADDRESS_INVALID',
      `Controller address "${text}" must be HOST:PORT, with IPv6 in brackets`,
    );
  }
  return address;
}

/** Does not connect yet. Throws when the roots are no certificates. */
export function openChannel({ address, rootCertificates, serverName }: ChannelTarget): Client {
  const { host, port } = address;
  const names = serverName === undefined ? [host] : [host, serverName];
  const context = createSecureContext({ ca: rootCertificates, minVersion: 'TLSv1.2' });
  const verify = { checkServerIdentity: (_host: string, peer: PeerCertificate) => checkNames(names, peer) };
  const isIp = parseIpAddress(host) !== undefined;
  // RFC 6066 section 3 allows no address in SNI and Node throws on one, so a name must stand in for it.
  const sni = isIp ? { 'grpc.ssl_target_name_override': serverName ?? 'controller.weft.invalid' } : {};
  return new Client(
    host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
    credentials.createFromSecureContext(context, verify),
    { ...channelOptions, ...sni },
  );
}

/** One accepted name is enough; the error speaks of the address that was dialled. */
function checkNames(names: readonly string[], peer: PeerCertificate): Error | undefined {
  const errors = names.map((name) => checkServerIdentity(name, peer));
  return errors.includes(undefined) ? undefined : errors[0];
}
