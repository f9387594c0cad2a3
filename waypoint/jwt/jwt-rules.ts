// Which JWT rules hold for a request: those of every RequestAuthentication attached to the gateway, to the service, or to
// its namespace. Hands out the same array as long as the objects behind it are the same, over all changes of others:
// what is remembered of tokens goes by the array.

import type {
  JwtRule,
  RequestAuthentication,
  RequestTarget,
} from '../../mesh/model/request-authentication.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { Service, ServiceKey } from '../../mesh/model/service.ts';
import type { Workload } from '../../mesh/model/workload.ts';
import type { Snapshot } from '../../mesh/state/snapshot.ts';

type Stored = Snapshot['requestAuthentications'];

interface List {
  readonly from: readonly RequestAuthentication[];
  readonly rules: readonly JwtRule[];
}

export class JwtRules {
  readonly #gateway: GatewayKey;
  /** What everything below was made from. */
  #stored: Stored | undefined;
  #byTarget = new Map<string, readonly RequestAuthentication[]>();
  #byService = new Map<ServiceKey, readonly JwtRule[]>();
  #byWorkload = new WeakMap<Workload, readonly JwtRule[]>();
  /** By the keys of the objects behind a list; those of the state before this one are taken over. */
  #lists = new Map<string, List>();
  #listsBefore = new Map<string, List>();

  constructor(gateway: GatewayKey) {
    this.#gateway = gateway;
  }

  /** Empty: tokens are not looked at. A request to a workload's own address is under the rules of all its services. */
  rulesFor(
    snapshot: Pick<Snapshot, 'requestAuthentications'>,
    destination: { readonly service: Service } | { readonly workload: Workload },
  ): readonly JwtRule[] {
    if (snapshot.requestAuthentications !== this.#stored) this.#rebuild(snapshot.requestAuthentications);
    if (this.#byTarget.size === 0) return none;
    return 'service' in destination
      ? this.#ofService(destination.service)
      : this.#ofWorkload(destination.workload);
  }

  #ofService({ key, namespace }: Service): readonly JwtRule[] {
    let rules = this.#byService.get(key);
    if (rules === undefined) {
      rules = this.#combine(namespace, [key]);
      this.#byService.set(key, rules);
    }
    return rules;
  }

  #ofWorkload(workload: Workload): readonly JwtRule[] {
    let rules = this.#byWorkload.get(workload);
    if (rules === undefined) {
      rules = this.#combine(workload.namespace, [...workload.services.keys()].sort());
      this.#byWorkload.set(workload, rules);
    }
    return rules;
  }

  #combine(namespace: string, services: readonly ServiceKey[]): readonly JwtRule[] {
    const targets: RequestTarget[] = [
      { kind: 'gateway', gateway: this.#gateway },
      ...services.map((service) => ({ kind: 'service', service }) as const),
      { kind: 'namespace', namespace },
      { kind: 'namespace', namespace: '' },
    ];
    const attached = targets.flatMap((target) => this.#byTarget.get(targetKey(target)) ?? []);
    const from = [...new Set(attached)].sort((a, b) => (a.key < b.key ? -1 : 1));
    if (from.length === 0) return none;
    const id = from.map(({ key }) => key).join();
    const known = this.#lists.get(id) ?? this.#listsBefore.get(id);
    const same = known?.from.length === from.length && known.from.every((one, i) => one === from[i]);
    const list = same ? known : { from, rules: from.flatMap(({ rules }) => rules) };
    this.#lists.set(id, list);
    return list.rules;
  }

  #rebuild(stored: Stored): void {
    this.#stored = stored;
    this.#listsBefore = this.#lists;
    this.#lists = new Map();
    this.#byService = new Map();
    this.#byWorkload = new WeakMap();
    const byTarget = new Map<string, RequestAuthentication[]>();
    for (const authentication of stored.values()) {
      for (const target of authentication.targets) {
        const key = targetKey(target);
        const list = byTarget.get(key);
        if (list === undefined) byTarget.set(key, [authentication]);
        else list.push(authentication);
      }
    }
    this.#byTarget = byTarget;
  }
}

const none: readonly JwtRule[] = Object.freeze([]);

function targetKey(target: RequestTarget): string {
  if (target.kind === 'gateway') return `gateway ${target.gateway}`;
  return target.kind === 'service' ? `service ${target.service}` : `namespace ${target.namespace}`;
}
