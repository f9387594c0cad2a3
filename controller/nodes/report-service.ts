// The report service: weft.v1.NodeReportService. The token says which node reports; only a node may, and only to the
// replica that leads, so that one replica knows all and it alone writes conditions. Each message is answered, which is
// what paces the sender.

import { create } from '@bufbuild/protobuf';
import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import { decodeNodeReport } from '../../mesh/node-report/node-report-codec.ts';
import { nodeReportService } from '../../mesh/node-report/node-report-service-definition.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import { authenticateCall, failCall } from '../../mesh/xds/call-authentication.ts';
import type { Authenticate } from '../../mesh/xds/caller.ts';
import {
  type NodeReport,
  type NodeReportAck,
  NodeReportAckSchema,
} from '../../mesh/xds/gen/weft/v1/node_report_pb.ts';
import type { GrpcServer } from '../../mesh/xds/grpc-server.ts';
import type { NodeTable } from './node-table.ts';

export interface ReportServiceOptions {
  readonly table: Pick<NodeTable, 'leading' | 'open'>;
  readonly authenticate: Authenticate;
  readonly logger: Logger;
}

type Call = ServerDuplexStream<NodeReport, NodeReportAck>;

/** Processes of one node at once: an upgrade overlaps two, and a stream may take a moment to be seen as broken. */
const maxStreamsPerNode = 4;

export class ReportService {
  readonly #options: ReportServiceOptions;
  /** Node by stream. */
  readonly #streams = new Map<Call, string>();

  constructor(options: ReportServiceOptions) {
    this.#options = options;
  }

  /** Before the server binds. */
  register(server: Pick<GrpcServer, 'addService'>): void {
    server.addService(nodeReportService, { report: (call: Call) => void this.#accept(call) });
  }

  /** Ends every stream, so that nodes look for another replica. */
  endAll(): void {
    for (const call of [...this.#streams.keys()])
      failCall(call, status.UNAVAILABLE, 'This replica does not lead');
    this.#streams.clear();
  }

  async #accept(call: Call): Promise<void> {
    let ended = false;
    for (const event of ['cancelled', 'error', 'end'] as const) call.on(event, () => (ended = true));
    // What is sent before the token was checked waits in the stream.
    call.pause();
    const node = await this.#nodeOf(call);
    if (node === undefined || ended) return;
    if (!this.#options.table.leading) return failCall(call, status.UNAVAILABLE, 'This replica does not lead');
    const open = [...this.#streams.values()].filter((name) => name === node).length;
    if (open >= maxStreamsPerNode)
      return failCall(call, status.RESOURCE_EXHAUSTED, `Node "${node}" has ${open} reports open already`);
    this.#serve(call, node);
  }

  /** Undefined: the call was refused. */
  async #nodeOf(call: Call): Promise<string | undefined> {
    const caller = await authenticateCall(call, this.#options);
    if (caller === undefined || caller.nodeName !== undefined) return caller?.nodeName;
    this.#options.logger.warn({ caller: caller.name }, 'A report of somebody who is no node was refused');
    failCall(call, status.PERMISSION_DENIED, 'Only a node tunnel reports');
    return undefined;
  }

  #serve(call: Call, node: string): void {
    const session = this.#options.table.open(node);
    this.#streams.set(call, node);
    const leave = (): void => {
      if (this.#streams.delete(call)) this.#options.logger.debug({ node }, 'A node reports no more');
      session.close();
    };
    call.on('cancelled', leave);
    call.on('error', leave);
    call.on('end', () => {
      leave();
      call.end();
    });
    call.on('data', (message: NodeReport) => {
      session.receive(decodeNodeReport(message));
      call.write(create(NodeReportAckSchema));
    });
    call.resume();
  }
}
