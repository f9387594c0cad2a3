// What a policy is asked about, in the forms the compiled rules compare: one reusable object a policy set, filled anew
// for each decision, so that deciding allocates nothing. Addresses are parsed only when a rule asks for them.

import type { IpAddress } from '../model/ip-address.ts';
import { formatPrincipal, type Identity } from '../model/spiffe-id.ts';
import type { HttpFacts } from './http-facts.ts';
import { ParsedIp } from './ip-table.ts';

export interface ConnectionFacts {
  /** From the verified certificate; undefined on a plaintext connection. */
  readonly peer: Identity | undefined;
  /** The L4 peer of the tunnel or socket. */
  readonly sourceIp: IpAddress;
  /** The pod's own address. */
  readonly destinationIp: IpAddress;
  /** The port of the application, never a port of the mesh. */
  readonly destinationPort: number;
  /** Of one request; undefined where nothing is known of requests: L4 enforcement, plain TCP. */
  readonly http?: HttpFacts | undefined;
}

interface PeerNames {
  readonly principal: string;
  readonly serviceAccount: string;
}

/** An identity object lives as long as its tunnel and is asked about for every stream. */
const namesOf = new WeakMap<Identity, PeerNames>();

export class Connection {
  identified = false;
  /** SPIFFE ID without its scheme; `''` without identity. */
  principal = '';
  namespace = '';
  /** See serviceAccountKey; `''` without identity. */
  serviceAccount = '';
  port = 0;
  http: HttpFacts | undefined;
  #sourceIp = '' as IpAddress;
  #destinationIp = '' as IpAddress;
  readonly #source = new ParsedIp();
  readonly #destination = new ParsedIp();

  load(facts: ConnectionFacts): void {
    const { peer } = facts;
    this.identified = peer !== undefined;
    const names = peer === undefined ? anonymous : peerNames(peer);
    this.principal = names.principal;
    this.serviceAccount = names.serviceAccount;
    this.namespace = peer === undefined ? '' : peer.namespace;
    this.port = facts.destinationPort;
    this.http = facts.http;
    this.#sourceIp = facts.sourceIp;
    this.#destinationIp = facts.destinationIp;
  }

  source(): ParsedIp {
    this.#source.load(this.#sourceIp);
    return this.#source;
  }

  destination(): ParsedIp {
    this.#destination.load(this.#destinationIp);
    return this.#destination;
  }
}

/** One text for namespace and service account; NUL is in no name. */
export function serviceAccountKey(namespace: string, serviceAccount: string): string {
  return `${namespace}\0${serviceAccount}`;
}

const anonymous: PeerNames = { principal: '', serviceAccount: '' };

function peerNames(peer: Identity): PeerNames {
  let names = namesOf.get(peer);
  if (names === undefined) {
    const serviceAccount = serviceAccountKey(peer.namespace, peer.serviceAccount);
    names = { principal: formatPrincipal(peer), serviceAccount };
    namesOf.set(peer, names);
  }
  return names;
}
