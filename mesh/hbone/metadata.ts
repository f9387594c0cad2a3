// What travels beside the authority: `baggage` (who the source workload is), `forwarded` (its address) and
// `traceparent` (an id for the logs of both sides). Read with care: a peer is only believed about labels, never about
// identity, and about its address only where it agrees with the connection.

import { randomFillSync } from 'node:crypto';
import { formatHostPort, type IpAddress, parseHostPort, parseIpAddress } from '../model/ip-address.ts';
import type { Workload } from '../model/workload.ts';

export interface SourceLabels {
  readonly cluster: string;
  readonly namespace: string;
  readonly workload: string;
  readonly workloadType: string;
  readonly service: string;
  readonly revision: string;
}

const maxHeaderLength = 4_096;
const workloadTypes = ['deployment', 'cronjob', 'pod', 'job'];

/** Made once for each workload as it is. */
const baggageTexts = new WeakMap<Workload, string>();

/** The value of the `baggage` header; empty members are left out, nothing is percent-encoded (as Istio does). */
export function formatBaggage(workload: Workload): string {
  let text = baggageTexts.get(workload);
  if (text === undefined) {
    text = baggageOf(workload);
    baggageTexts.set(workload, text);
  }
  return text;
}

function baggageOf(workload: Workload): string {
  const members = [
    ['k8s.cluster.name', workload.clusterId],
    ['k8s.namespace.name', workload.namespace],
    [`k8s.${workload.workloadType}.name`, workload.workloadName],
    ['service.name', workload.canonicalName],
    ['service.version', workload.canonicalRevision],
    ['cloud.region', workload.locality.region],
    ['cloud.availability_zone', workload.locality.zone],
  ];
  return members
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

/** Unknown members are ignored; a header that is too long counts as empty. */
export function parseBaggage(header: string): SourceLabels {
  const members = new Map<string, string>();
  if (header.length <= maxHeaderLength) {
    for (const member of header.split(',')) {
      const at = member.indexOf('=');
      if (at > 0) members.set(member.slice(0, at).trim(), member.slice(at + 1).trim());
    }
  }
  const workloadType = workloadTypes.find((type) => members.has(`k8s.${type}.name`)) ?? '';
  return {
    cluster: members.get('k8s.cluster.name') ?? '',
    namespace: members.get('k8s.namespace.name') ?? '',
    workload: members.get(`k8s.${workloadType}.name`) ?? '',
    workloadType,
    service: members.get('service.name') ?? '',
    revision: members.get('service.version') ?? '',
  };
}

/** The value of the `forwarded` header (RFC 7239): the client's socket and, when known, the Service it asked for. */
export function formatForwarded(
  source: { address: IpAddress; port: number },
  serviceHostname: string | undefined,
): string {
  const host = serviceHostname === undefined ? '' : `;host=${serviceHostname}`;
  return `for="${formatHostPort(source.address, source.port)}"${host}`;
}

export interface Forwarded {
  readonly source: { readonly address: IpAddress; readonly port: number } | undefined;
  readonly host: string | undefined;
}

/** As `formatForwarded` writes it. */
const ownForm = /^for="([^",;\s]*)"(?:;host=([^",;\s]+))?$/;

/** Only the first element counts; what does not parse is absent. */
export function parseForwarded(header: string): Forwarded {
  if (header.length > maxHeaderLength) return { source: undefined, host: undefined };
  const own = ownForm.exec(header);
  return own === null ? parseAnyForwarded(header) : { source: sourceOf(own[1] ?? ''), host: own[2] };
}

function sourceOf(value: string): Forwarded['source'] {
  const parsed = parseHostPort(value);
  const address = parsed === undefined ? undefined : parseIpAddress(parsed.host);
  return parsed === undefined || address === undefined ? undefined : { address, port: parsed.port };
}

function parseAnyForwarded(header: string): Forwarded {
  let source: Forwarded['source'];
  let host: string | undefined;
  for (const pair of (header.split(',')[0] ?? '').split(';')) {
    const at = pair.indexOf('=');
    const value = pair
      .slice(at + 1)
      .trim()
      .replace(/^"(.*)"$/, '$1');
    const name = pair.slice(0, at).trim().toLowerCase();
    if (name === 'host' && value !== '') host = value;
    if (name === 'for') source = sourceOf(value) ?? source;
  }
  return { source, host };
}

const entropy = Buffer.allocUnsafeSlow(24 * 128);
let entropyAt = entropy.length;

/** A fresh W3C traceparent (not sampled); random bytes are drawn in batches, this runs once a connection. */
export function newTraceparent(): string {
  if (entropyAt === entropy.length) {
    randomFillSync(entropy);
    entropyAt = 0;
  }
  const digits = entropy.toString('hex', entropyAt, entropyAt + 24);
  entropyAt += 24;
  return `00-${digits.slice(0, 32)}-${digits.slice(32)}-00`;
}
