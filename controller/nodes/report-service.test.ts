// The report service over real TLS and gRPC, with the node's own client.

import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeNodeFacts, makePodCapture } from '../../mesh/node-report/fixture.ts';
import type { PodCapture } from '../../mesh/node-report/node-report.ts';
import { NodeReportClient } from '../../mesh/node-report/report-client.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import type { Caller } from '../../mesh/xds/caller.ts';
import { GrpcServer } from '../../mesh/xds/grpc-server.ts';
import { makeTestRoot } from '../../mesh/xds/testing/test-pki.ts';
import { NodeTable } from './node-table.ts';
import { ReportService } from './report-service.ts';

const callers: Readonly<Record<string, Caller>> = {
  'token-of-node-1': { name: 'node-1', node: 'node-1', nodeName: 'node-1' },
  'token-of-waypoint': { name: 'waypoint/shop/wp', node: 'waypoint/shop/wp' },
};

let table: NodeTable;
let service: ReportService;
let server: GrpcServer;
let address: string;
let roots: string;
let wake = (): void => {};
const clients: NodeReportClient[] = [];

beforeEach(async () => {
  const root = await makeTestRoot();
  roots = root.certificate;
  table = new NodeTable({ clock: systemClock, onChange: () => wake() });
  service = new ReportService({
    table,
    authenticate: ({ token = '' }) => callers[token],
    logger: createLogger({ component: 'test', level: 'silent' }),
  });
  server = new GrpcServer({ tls: await root.issue({ ip: ['127.0.0.1'] }) });
  service.register(server);
  address = `127.0.0.1:${await server.bind('127.0.0.1:0')}`;
  table.lead(true);
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  table.close();
  await server.close({ clock: systemClock });
});

class TestNode {
  pods: readonly PodCapture[] = [makePodCapture('web')];
  readonly reasons: string[] = [];
  readonly client: NodeReportClient;

  constructor(token: string) {
    this.client = new NodeReportClient({
      address,
      rootCertificates: () => roots,
      token: () => token,
      clusterId: 'Kubernetes',
      read: () => ({ facts: makeNodeFacts(), pods: this.pods }),
      clock: systemClock,
      logger: createLogger({
        component: 'node',
        level: 'info',
        destination: {
          write: (line) => {
            this.reasons.push(line);
            wake();
          },
        },
      }),
      random: () => 0,
    });
    clients.push(this.client);
    this.client.start();
  }
}

function until(holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    wake = () => {
      if (holds()) resolve();
    };
    wake();
  });
}

const webState = (): string => {
  const answer = table.captureOf('node-1', makePodCapture('web').uid);
  return answer.kind === 'told' ? answer.capture.state : answer.kind;
};

describe('the report service', () => {
  it('knows a node by its token, and follows what it tells', async () => {
    const node = new TestNode('token-of-node-1');
    await until(() => webState() === 'captured');
    expect(table.views()).toMatchObject([{ node: 'node-1', facts: makeNodeFacts() }]);
    node.pods = [makePodCapture('web', { state: 'bypassed', reason: 'HookDetached' })];
    node.client.changed();
    await until(() => webState() === 'bypassed');
    node.pods = [];
    node.client.changed();
    await until(() => webState() === 'untold');
  });

  it.each([
    ['nobody', 'UNAUTHENTICATED'],
    ['token-of-waypoint', 'PERMISSION_DENIED'],
  ] as const)('refuses %s with %s', async (token, code) => {
    expect(status[code]).toBeDefined();
    const node = new TestNode(token);
    await until(() => node.reasons.length > 0);
    expect(node.reasons[0]).toContain(code);
    expect(table.views()).toEqual([]);
  });

  it('sends nodes on while it does not lead, and takes them when it does', async () => {
    table.lead(false);
    const node = new TestNode('token-of-node-1');
    await until(() => node.reasons.some((line) => line.includes('does not lead')));
    table.lead(true);
    await until(() => webState() === 'captured');
    table.lead(false);
    service.endAll();
    const before = node.reasons.length;
    await until(() => node.reasons.slice(before).some((line) => line.includes('does not lead')));
    expect(table.views()).toEqual([]);
  });

  it('tells a node that comes again everything anew', async () => {
    const node = new TestNode('token-of-node-1');
    await until(() => webState() === 'captured');
    node.client.close();
    const next = new TestNode('token-of-node-1');
    next.pods = [makePodCapture('web', { state: 'failed', reason: 'NoListener' })];
    await until(() => webState() === 'failed');
  });
});
