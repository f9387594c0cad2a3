// Peers that speak gRPC without our client or server, for what a well-behaved one never does: an istiod, a server
// that sends garbage, a node that does not acknowledge. Only tests import this.

import { create } from '@bufbuild/protobuf';
import { type ClientDuplexStream, Metadata, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
} from '../gen/envoy/service/discovery/v3/discovery_pb.ts';
import { openChannel } from '../grpc-channel.ts';
import { GrpcServer } from '../grpc-server.ts';
import { grpcService } from '../grpc-service.ts';
import { immediately } from './test-mesh.ts';
import { makeTestRoot, type TestRoot } from './test-pki.ts';

export type ServerCall = ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/** A queue of what arrives, read one by one. */
class Inbox<T> {
  readonly #items: T[] = [];
  readonly #readers: ((item: T) => void)[] = [];

  put(item: T): void {
    const reader = this.#readers.shift();
    if (reader === undefined) this.#items.push(item);
    else reader(item);
  }

  get size(): number {
    return this.#items.length;
  }

  next(): Promise<T> {
    const item = this.#items.shift();
    return item === undefined ? new Promise((resolve) => this.#readers.push(resolve)) : Promise.resolve(item);
  }
}

export interface FakeServer {
  readonly root: TestRoot;
  readonly port: number;
  readonly calls: Inbox<ServerCall>;
  readonly requests: Inbox<DeltaDiscoveryRequest>;
  stop(): Promise<void>;
}

/** Answers nothing by itself. `serialize` replaces the encoding of responses, for garbage. */
export async function startFakeServer(
  serialize?: (response: DeltaDiscoveryResponse) => Buffer,
): Promise<FakeServer> {
  const root = await makeTestRoot();
  const calls = new Inbox<ServerCall>();
  const requests = new Inbox<DeltaDiscoveryRequest>();
  const grpc = new GrpcServer({ tls: await root.issue({ ip: ['127.0.0.1'] }) });
  const { deltaAggregatedResources: method } = grpcService(AggregatedDiscoveryService);
  const definition = { ...method, ...(serialize && { responseSerialize: serialize }) };
  grpc.addService(
    { deltaAggregatedResources: definition },
    {
      deltaAggregatedResources: (call: ServerCall) => {
        call.on('error', () => {});
        call.on('data', (request: DeltaDiscoveryRequest) => requests.put(request));
        calls.put(call);
      },
    },
  );
  const port = await grpc.bind('127.0.0.1:0');
  return { root, port, calls, requests, stop: () => grpc.close({ clock: immediately }) };
}

export function response(
  fields: Parameters<typeof create<typeof DeltaDiscoveryResponseSchema>>[1],
): DeltaDiscoveryResponse {
  return create(DeltaDiscoveryResponseSchema, fields);
}

export interface RawNode {
  readonly call: ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
  readonly responses: Inbox<DeltaDiscoveryResponse>;
  readonly status: Promise<{ code: number; details: string }>;
  send(fields: Parameters<typeof create<typeof DeltaDiscoveryRequestSchema>>[1]): void;
  close(): void;
}

/** Acknowledges nothing by itself. */
export function connectRawNode(
  { root, port }: { root: TestRoot; port: number },
  { token = 'node-a', reading = true }: { token?: string; reading?: boolean } = {},
): RawNode {
  const client = openChannel({ address: { host: '127.0.0.1', port }, rootCertificates: root.certificate });
  const { deltaAggregatedResources: method } = grpcService(AggregatedDiscoveryService);
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const call = client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    metadata,
  );
  const responses = new Inbox<DeltaDiscoveryResponse>();
  call.on('error', () => {});
  if (reading) call.on('data', (message: DeltaDiscoveryResponse) => responses.put(message));
  return {
    call,
    responses,
    status: new Promise((resolve) => call.on('status', resolve)),
    send: (fields) => void call.write(create(DeltaDiscoveryRequestSchema, fields)),
    close: () => {
      call.cancel();
      client.close();
    },
  };
}
