// What a name means to a client, from one snapshot: addresses of services, pods of headless services, SRV records of
// named ports. Pure. What the mesh does not know is `forward`: it is somebody else's to answer, untouched.

import { type IpAddress, isIpv6 } from '../mesh/model/ip-address.ts';
import type { Service } from '../mesh/model/service.ts';
import type { Workload } from '../mesh/model/workload.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import { type DnsRecord, dnsTypes } from './dns-message.ts';
import { nameCandidates } from './dns-names.ts';

export interface DnsQuestion {
  /** Lower case, no final dot. */
  readonly name: string;
  /** The same with the case it was asked in: the owner name of the answers. */
  readonly askedName: string;
  readonly type: number;
}

export interface DnsAnswer {
  readonly answers: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
}

export interface AnswerOptions {
  /** For example `cluster.local`. */
  readonly clusterDomain: string;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

interface Found {
  readonly service: Service;
  /** The one pod asked for by `<pod>.<headless service>`. */
  readonly pod: Workload | undefined;
  readonly stripped: string | undefined;
}

/** Seconds. */
const ttl = 30;
/** Addresses in one response; more help nobody and would not fit. */
const maxAddresses = 256;

/** No records means: the name exists, but not with this type. */
export function answer(
  question: DnsQuestion,
  snapshot: Snapshot,
  options: AnswerOptions & { readonly client: Workload },
): DnsAnswer | 'forward' {
  switch (question.type) {
    case dnsTypes.A:
    case dnsTypes.AAAA:
      return answerAddresses(question, snapshot, options);
    case dnsTypes.SRV:
      return answerSrv(question, snapshot, options);
    default:
      return 'forward';
  }
}

type Context = AnswerOptions & { readonly client: Workload };

function answerAddresses(question: DnsQuestion, snapshot: Snapshot, context: Context): DnsAnswer | 'forward' {
  const found = find(question.name, snapshot, context);
  if (found === undefined) return 'forward';
  const addresses = addressesOf(found, snapshot, context);
  if (addresses === undefined) return 'forward';
  const type = question.type === dnsTypes.A ? 'A' : 'AAAA';
  const name = found.stripped ?? question.askedName;
  const records = shuffle(
    addresses.filter((address) => isIpv6(address) === (type === 'AAAA')),
    context.random,
  )
    .slice(0, maxAddresses)
    .map((address): DnsRecord => ({ type, name, ttl, data: address }));
  const alias: DnsRecord[] =
    found.stripped === undefined || records.length === 0
      ? []
      : [{ type: 'CNAME', name: question.askedName, ttl, data: found.stripped }];
  return { answers: [...alias, ...records], additionals: [] };
}

/** `_port._tcp.service.ns.svc.<domain>`: the service itself, or each ready pod of a headless one (RFC 2782). */
function answerSrv(question: DnsQuestion, snapshot: Snapshot, context: Context): DnsAnswer | 'forward' {
  const match = /^_([^.]+)\._tcp\.(.+)$/.exec(question.name);
  const found = match?.[2] === undefined ? undefined : find(match[2], snapshot, context);
  if (found === undefined || found.pod !== undefined) return 'forward';
  const { service } = found;
  const port = service.ports.find(
    (candidate) => candidate.name !== '' && candidate.name.toLowerCase() === match?.[1],
  );
  if (port === undefined) return 'forward';
  const name = question.askedName;
  const answers: DnsRecord[] = [];
  const additionals: DnsRecord[] = [];
  const add = (target: string, targetPort: number, addresses: readonly IpAddress[]): void => {
    answers.push({ type: 'SRV', name, ttl, data: { priority: 0, weight: 100, port: targetPort, target } });
    for (const address of addresses) {
      const type = isIpv6(address) ? 'AAAA' : 'A';
      additionals.push({ type, name: target, ttl, data: address });
    }
  };
  const vips = vipsOf(service, context.client.network);
  if (vips.length > 0) {
    add(service.hostname, port.servicePort, vips);
    return { answers, additionals };
  }
  if (!isClusterName(service.hostname, context.clusterDomain)) return 'forward';
  for (const pod of shuffle(readyEndpoints(service, snapshot, context.client), context.random).slice(
    0,
    maxAddresses,
  )) {
    const mapped = pod.services.get(service.key)?.find(({ servicePort }) => servicePort === port.servicePort);
    const targetPort = mapped?.targetPort || port.targetPort || port.servicePort;
    add(`${pod.name}.${service.hostname}`, targetPort, pod.addresses);
  }
  return { answers, additionals };
}

function find(name: string, snapshot: Snapshot, { client, clusterDomain }: Context): Found | undefined {
  for (const { hostname, stripped } of nameCandidates(name, { namespace: client.namespace, clusterDomain })) {
    const service = snapshot.serviceForHostname(hostname, client.namespace);
    if (service !== undefined) return { service, pod: undefined, stripped };
    const found = findPod(hostname, snapshot, client);
    if (found !== undefined && isClusterName(hostname, clusterDomain)) return { ...found, stripped };
  }
  return undefined;
}

/** `<pod>.<headless service>`, as the pods of a StatefulSet are called. */
function findPod(
  hostname: string,
  snapshot: Snapshot,
  client: Workload,
): { service: Service; pod: Workload } | undefined {
  const dot = hostname.indexOf('.');
  if (dot <= 0 || hostname.startsWith('*')) return undefined;
  const service = snapshot.serviceForHostname(hostname.slice(dot + 1), client.namespace);
  if (service === undefined || service.addresses.length > 0) return undefined;
  const name = hostname.slice(0, dot);
  const pod = readyEndpoints(service, snapshot, client).find(
    (endpoint) => endpoint.name.toLowerCase() === name,
  );
  return pod === undefined ? undefined : { service, pod };
}

/** Undefined: the mesh knows the name but no address for it. */
function addressesOf(
  found: Found,
  snapshot: Snapshot,
  { client, clusterDomain }: Context,
): readonly IpAddress[] | undefined {
  if (found.pod !== undefined) return found.pod.addresses;
  const vips = vipsOf(found.service, client.network);
  if (vips.length > 0) return vips;
  if (!isClusterName(found.service.hostname, clusterDomain)) return undefined;
  return readyEndpoints(found.service, snapshot, client).flatMap((endpoint) => endpoint.addresses);
}

/** Single addresses of the client's network; a range is nothing to dial. */
function vipsOf(service: Service, network: string): readonly IpAddress[] {
  return service.addresses
    .filter((vip) => vip.network === network && vip.length === (isIpv6(vip.address) ? 128 : 32))
    .map((vip) => vip.address);
}

function readyEndpoints(service: Service, snapshot: Snapshot, client: Workload): readonly Workload[] {
  const all = service.loadBalancing.healthPolicy === 'allow-all';
  return snapshot
    .endpointsOf(service.key)
    .filter((endpoint) => endpoint.network === client.network && (all || endpoint.health === 'healthy'));
}

function isClusterName(hostname: string, clusterDomain: string): boolean {
  return hostname.toLowerCase().endsWith(`.svc.${clusterDomain}`);
}

/** Fisher-Yates on a copy. */
function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j] as T, out[i] as T];
  }
  return out;
}
