// A process full of nodes: real configuration clients that decode all they are told, as the ones of a node tunnel, and
// keep only numbers. A process of its own, so that what clients cost does not slow the controller's answers.

import { readFileSync } from 'node:fs';
import type { ModelDelta } from '../../mesh/model/model.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { XdsClient } from '../../mesh/xds/client.ts';

export interface FleetOrder {
  readonly address: string;
  readonly rootsFile: string;
  readonly nodes: readonly { readonly name: string; readonly token: string }[];
}

export type FleetRequest = { readonly start: FleetOrder } | { readonly report: true };

export interface FleetReport {
  /** By stamp: how many nodes saw the change, and when the last of them did, µs of the monotonic clock. */
  readonly changes: Readonly<Record<string, { readonly nodes: number; readonly lastUs: number }>>;
  readonly resources: number;
  readonly bytes: number;
  readonly connects: number;
}

export type FleetAnswer =
  | { readonly synced: number; readonly workloads: number }
  | { readonly report: FleetReport };

const logger = createLogger({ component: 'fleet', level: 'silent' });
const changes: Record<string, { nodes: number; lastUs: number }> = {};
const totals = { resources: 0, bytes: 0, connects: 0 };
let synced = 0;

/** Monotonic µs, the same clock in every process of the machine. */
const nowUs = (): number => Number(process.hrtime.bigint() / 1000n);
const tell = (answer: FleetAnswer): void => void process.send?.(answer);

function note({ workloads, services, pods, removed }: ModelDelta): void {
  totals.resources += workloads.length + services.length + pods.length + removed.workloads.length;
  const lastUs = nowUs();
  for (const { canonicalRevision } of workloads) {
    if (!canonicalRevision.startsWith('t')) continue;
    const change = changes[canonicalRevision];
    changes[canonicalRevision] = { nodes: (change?.nodes ?? 0) + 1, lastUs };
  }
}

function connect({ address, rootsFile, nodes }: FleetOrder): void {
  const roots = readFileSync(rootsFile, 'utf8');
  for (const { name, token } of nodes) {
    let workloads = 0;
    const options = {
      address,
      rootCertificates: () => roots,
      token: () => token,
      clusterId: 'Kubernetes',
      node: { id: name, metadata: { NODE_NAME: name } },
      mode: 'wildcard' as const,
      clock: systemClock,
      logger,
      metrics: {
        message: (_type: string, bytes: number) => {
          totals.bytes += bytes;
        },
        terminated: () => {},
      },
    };
    new XdsClient(options, {
      onDelta: (delta) => {
        workloads += delta.workloads.length;
        note(delta);
      },
      onSynced: () => {
        synced += 1;
        tell({ synced, workloads });
      },
      onState: (state) => {
        if (state === 'connected') totals.connects += 1;
      },
    }).start();
  }
}

process.on('message', (request: FleetRequest) => {
  if ('start' in request) connect(request.start);
  else tell({ report: { changes, ...totals } });
});
process.on('disconnect', () => process.exit(0));
