// One connection that is passed through as bytes: authorized, routed by port or server name, balanced, spliced. Asks
// the policies again when they change. States: deciding -> dialling -> open -> over; one record at the end.

import type { LiveSetItem } from '../../../mesh/runtime/live-set.ts';
import type { PickHandle } from '../../../mesh/balance/balancer.ts';
import type { ConnectionFacts } from '../../../mesh/authz/connection.ts';
import type { ByteSink, ByteTransport } from '../../../mesh/http/byte-transport.ts';
import { ByteQueue } from '../../../mesh/io/byte-queue.ts';
import type { Slab } from '../../../mesh/io/slab.ts';
import { isIpv6 } from '../../../mesh/model/ip-address.ts';
import type { L4Rule } from '../../../mesh/model/routing.ts';
import type { Service } from '../../../mesh/model/service.ts';
import { matchTlsRule } from '../../routing/tls-routes.ts';
import type { ClientConnection } from '../client-connection.ts';
import type { DestinationView } from '../destination-view.ts';
import type { ConnectionRecord, ResponseFlag } from '../request-record.ts';
import { denialText, type RequestWorld } from '../request-world.ts';
import type { ConnectFailure } from '../upstream/endpoint-address.ts';
import { EndpointChoice } from '../upstream/endpoint-choice.ts';
import type { EndpointDialer, PendingDial } from '../upstream/endpoint-dialer.ts';
import type { ServiceTarget, UpstreamEndpoint } from '../upstream/upstream.ts';
import type { L4Choices } from './l4-choices.ts';
import { maxClientHelloBytes, readServerName } from './server-name.ts';
import { TransportSplice, type TransportSpliceEnd } from './transport-splice.ts';

export interface TcpConnectionOptions {
  readonly world: RequestWorld;
  readonly dialer: EndpointDialer;
  readonly choices: L4Choices;
  readonly client: ClientConnection;
  readonly view: DestinationView;
  readonly transport: ByteTransport;
  readonly idleTimeoutMs: number;
  readonly halfClosedTimeoutMs: number;
  /** Once. */
  readonly onEnd: (connection: TcpConnection) => void;
}

const defaultDialAttempts = 3;

export class TcpConnection implements ByteSink, LiveSetItem {
  place = -1;
  readonly record: ConnectionRecord;
  #options: TcpConnectionOptions;
  #facts: ConnectionFacts;
  #early: ByteQueue;
  #earlyEnded = false;
  /** Waits for the ClientHello. */
  #reading = false;
  #dial: PendingDial | undefined;
  #handle: PickHandle | undefined;
  #endpoint: UpstreamEndpoint | undefined;
  #endpointDecides = false;
  #choice: EndpointChoice;
  #splice: TransportSplice | undefined;
  #startedMs: number;
  #over = false;

  constructor(options: TcpConnectionOptions) {
    this.#options = options;
    const { world, client, view } = options;
    this.#startedMs = world.now();
    this.#early = new ByteQueue(world.budget);
    this.#choice = new EndpointChoice(world.upstream, 'connection');
    this.#facts = {
      peer: client.peer,
      sourceIp: client.address,
      destinationIp: view.destination,
      destinationPort: view.policyPort,
    };
    this.record = newRecord(client, world.clock.now());
  }

  /** Decides and dials, or first waits for the ClientHello where routes go by it. */
  start(): void {
    const { view, world } = this.#options;
    if ((view.service ?? view.workload) === undefined)
      return this.#refuse('NR', 'the destination is gone from the mesh');
    const decision = world.authorize(view, this.#facts);
    if (decision.audits.length > 0) this.record.audits = decision.audits;
    if (!decision.allowed) return this.#refuse('UAEX', denialText(decision));
    this.#endpointDecides = decision.reason === 'endpoint-decides';
    if ((view.routes?.tls.length ?? 0) > 0) {
      this.#reading = true;
      return;
    }
    this.#route(view.routes?.tcp);
  }

  /** Asks the policies again; cuts itself when they deny. */
  recheck(): void {
    if (this.#over) return;
    const { world, view } = this.#options;
    const reason = world.deniedNow(view, this.#facts, this.#endpoint);
    if (reason !== undefined) this.cut('UAEX', `${reason} (policy change)`);
  }

  cut(flag: ResponseFlag, details: string): void {
    if (this.#over) return;
    if (this.#splice === undefined) return this.#refuse(flag, details);
    this.#note(flag, details);
    this.#splice.close();
  }

  // Before the splice stands.

  receive(slab: Slab, offset: number, length: number): void {
    if (this.#over) return;
    if (!this.#early.push(slab, offset, length))
      return this.#refuse('LR', 'the buffer budget of this waypoint is spent');
    if (this.#reading) this.#readHello(slab, offset, length);
    else this.#options.transport.pause();
  }

  ended(): void {
    this.#earlyEnded = true;
    if (this.#reading) this.#helloRead(undefined);
  }

  onTransportWritable(): void {}

  closed(): void {
    if (this.#over) return;
    this.#note('DC', 'the client went away before the connection was made');
    this.#finish();
  }

  #hello = Buffer.alloc(0);

  #readHello(slab: Slab, offset: number, length: number): void {
    this.#hello = Buffer.concat([this.#hello, slab.bytes.subarray(offset, offset + length)]);
    const name = readServerName(this.#hello);
    if (name.kind === 'need-more' && this.#hello.length < maxClientHelloBytes) return;
    this.#helloRead(name.kind === 'name' ? name.name : undefined);
  }

  #helloRead(name: string | undefined): void {
    this.#reading = false;
    this.#hello = Buffer.alloc(0);
    this.record.sni = name;
    this.#options.transport.pause();
    const { routes } = this.#options.view;
    const rule = matchTlsRule(routes?.tls ?? [], name);
    if (rule === undefined && routes?.tcp === undefined)
      return this.#refuse('NR', `no TLSRoute is for the server name ${name ?? '(none)'}`);
    this.#route(rule ?? routes?.tcp);
  }

  #route(rule: L4Rule | undefined): void {
    const { view, client, choices, world } = this.#options;
    if (view.workload !== undefined) {
      const endpoint = world.upstream.endpointOf(
        { workload: view.workload, address: client.destination, port: client.servicePort },
        undefined,
      );
      return this.#dialEndpoint(endpoint, undefined);
    }
    let service = view.service as Service;
    let port = client.servicePort;
    if (rule !== undefined) {
      this.record.route = rule.name;
      const backend = choices.next(rule);
      if (backend === undefined) return this.#refuse('NC', 'the rule has no backend that takes connections');
      const { target } = backend;
      if (target.kind === 'invalid') return this.#refuse('NC', target.reason);
      const known = world.snapshot.serviceByKey(target.service);
      if (known === undefined)
        return this.#refuse('NC', `backend service ${target.service} is not in the mesh`);
      if (known.key !== service.key) this.#endpointDecides = true;
      service = known;
      port = target.port;
    }
    this.record.backend = service;
    this.record.backendPort = port;
    this.#pick(service, port, undefined);
  }

  #pick(service: Service, port: number, previous: ConnectFailure | undefined): void {
    const { world, client } = this.#options;
    const { upstream } = world;
    const family = isIpv6(client.destination) ? 6 : 4;
    const target: ServiceTarget = { service, port, family, hash: undefined, preferred: undefined };
    const attempts = service.trafficPolicy?.dialAttempts ?? defaultDialAttempts;
    if (this.record.attempts >= attempts)
      return this.#refuse('UF', previous?.message ?? 'no endpoint could be reached');
    const picked = this.#choice.next(target, undefined);
    if (picked.kind === 'none') {
      const reason = previous?.message ?? this.#choice.skipped;
      const flag = reason !== undefined ? 'UF' : picked.reason === 'connection-limit' ? 'UO' : 'UH';
      return this.#refuse(flag, reason ?? picked.message);
    }
    const { handle } = picked;
    this.#handle = handle;
    upstream.balancer.begin(handle);
    const { workload, address, port: endpointPort } = picked.endpoint;
    const again = (failure: ConnectFailure): void => {
      this.#choice.exclude(workload.uid);
      this.#pick(service, port, failure);
    };
    if (address !== undefined)
      return this.#dialEndpoint(upstream.endpointOf(picked.endpoint, service), again);
    this.#dial = upstream.lookUp(workload, target, (found) => {
      if (this.#over) return;
      if (found !== undefined)
        return this.#dialEndpoint(
          upstream.endpointOf({ workload, address: found, port: endpointPort }, service),
          again,
        );
      upstream.balancer.failed(handle, 'connect');
      this.record.attempts++;
      again({ kind: 'connect', message: `the endpoint ${workload.name} has no address`, retryable: true });
    });
  }

  #dialEndpoint(endpoint: UpstreamEndpoint, again: ((failure: ConnectFailure) => void) | undefined): void {
    const { world, view, dialer, client } = this.#options;
    const { balancer } = world.upstream;
    this.#endpoint = endpoint;
    const { record } = this;
    record.attempts++;
    record.endpoint = endpoint.workload;
    record.endpointAddress = endpoint.place.address;
    record.endpointPort = endpoint.place.port;
    if (this.#endpointDecides) {
      const decision = world.authorizeAt(view, this.#facts, endpoint);
      if (!decision.allowed) return this.#refuse('UAEX', denialText(decision));
    }
    const startedMs = world.now();
    const timeoutMs = record.backend?.trafficPolicy?.connectTimeoutMs ?? world.connectTimeoutMs;
    this.#dial = dialer.dial(
      endpoint.place,
      { timeoutMs, client: { address: client.address, port: client.port } },
      {
        onTransport: (transport, released) => {
          this.#dial = undefined;
          if (this.#handle !== undefined) balancer.connected(this.#handle, world.now() - startedMs);
          this.#join(transport, released);
        },
        onFailed: (failure) => {
          this.#dial = undefined;
          const handle = this.#handle;
          this.#handle = undefined;
          if (handle !== undefined) balancer.failed(handle, failure.kind);
          if (again !== undefined && failure.retryable) again(failure);
          else this.#refuse(failure.kind === 'denied' ? 'UAEX' : 'UF', failure.message);
        },
      },
    );
  }

  #join(server: ByteTransport, released: () => void): void {
    const { world, transport, idleTimeoutMs, halfClosedTimeoutMs } = this.#options;
    const splice = new TransportSplice(
      world.reactor,
      { client: transport, server },
      {
        budget: world.budget,
        idleTimeoutMs: this.record.backend?.trafficPolicy?.idleTimeoutMs ?? idleTimeoutMs,
        halfClosedTimeoutMs,
        onEnd: (end) => {
          released();
          this.#spliceEnded(end);
        },
      },
    );
    this.#splice = splice;
    world.report.opened(this.record);
    server.attach(splice.serverSink);
    transport.attach(splice.clientSink);
    this.#early.drainTo({
      write: (slab, offset, length) => {
        splice.clientSink.receive(slab, offset, length);
        return length;
      },
    });
    if (this.#earlyEnded) splice.clientSink.ended();
    else if (!splice.clientWaits) transport.resume();
  }

  #spliceEnded(end: TransportSpliceEnd): void {
    if (end === 'client-broke') this.#note('DC', 'the client reset its connection');
    else if (end === 'server-broke') this.#note('UC', 'the endpoint reset its connection');
    else if (end === 'idle') this.#note('SI', 'no byte either way for the idle time');
    else if (end === 'overload')
      this.#note('LR', 'the buffer budget of this waypoint is spent by slow readers');
    else if (end === 'closed') this.#note('LR', 'closed by the waypoint');
    this.#finish();
  }

  #refuse(flag: ResponseFlag, details: string): void {
    if (this.#over) return;
    this.#note(flag, details);
    this.#options.transport.destroy();
    this.#finish();
  }

  #note(flag: ResponseFlag, details: string): void {
    if (this.record.flag !== '') return;
    this.record.flag = flag;
    this.record.details = details;
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#dial?.cancel();
    this.#early.clear();
    const { world, onEnd } = this.#options;
    if (this.#handle !== undefined) world.upstream.balancer.closed(this.#handle);
    const { record } = this;
    record.receivedBytes = this.#splice?.fromClient ?? 0;
    record.sentBytes = this.#splice?.fromServer ?? 0;
    record.durationMs = world.now() - this.#startedMs;
    onEnd(this);
    world.report.connection(record);
  }
}

function newRecord(client: ClientConnection, startedAt: number): ConnectionRecord {
  return {
    connection: client,
    startedAt,
    sni: undefined,
    route: undefined,
    backend: undefined,
    backendPort: 0,
    endpoint: undefined,
    endpointAddress: undefined,
    endpointPort: 0,
    attempts: 0,
    receivedBytes: 0,
    sentBytes: 0,
    durationMs: 0,
    flag: '',
    details: '',
    audits: [],
  };
}
