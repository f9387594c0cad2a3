// Entry of a data worker's thread of a waypoint: puts a data plane on a loop and does what the main thread says.

import { workerData } from 'node:worker_threads';
import { withNetns } from '../mesh/io/netns.ts';
import { WorkerLoop } from '../mesh/proxy/worker-loop.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { WaypointPlane } from './data/waypoint-plane.ts';
import type { FromWorker, ToWorker, WorkerListeners, WorkerStart } from './worker-messages.ts';
import { WorkerReport } from './telemetry/worker-report.ts';
import type { WorkerLoad } from './worker-load.ts';

const loop = new WorkerLoop<ToWorker, FromWorker>();
const { reactor } = loop;
const post = (message: FromWorker): void => loop.post(message);
const { settings, gateway, logFormat, netns, address, limitMemory } = workerData as WorkerStart;
const report = new WorkerReport(post, { reactor, clock: systemClock, format: logFormat });
const plane = new WaypointPlane(reactor, {
  settings,
  gateway,
  report,
  clock: systemClock,
  lookUp: (hostname) => post({ kind: 'look-up', hostname }),
  verifyToken: (job) => post({ kind: 'verify-token', job }),
  ...(address && { address }),
  ...(limitMemory && { limitMemory }),
});

function handle(message: ToWorker): void {
  switch (message.kind) {
    case 'model':
      return plane.applyModel(message.delta);
    case 'certificate':
      return plane.setCertificate(message.spiffeId, message.credentials);
    case 'listen':
      return listen(message.listeners);
    case 'query':
      return answer(message.id, message.what);
    case 'looked-up':
      return plane.answerHostname(message.hostname, message.answer);
    case 'token-verified':
      return plane.answerToken(message.answer);
    case 'drain':
      return plane.drain(() => post({ kind: 'drained' }));
    case 'stop':
      plane.close('the waypoint stops');
      report.flush();
      return reactor.stop();
  }
}

function listen({ hbone, plain }: WorkerListeners): void {
  for (const fd of hbone) plane.listenHbone(fd);
  for (const listener of plain) plane.listenPlain(listener);
  post({ kind: 'listening' });
}

function answer(id: number, what: 'metrics' | 'load'): void {
  if (what === 'metrics') post({ kind: 'metrics', id, metrics: report.metrics() });
  else post({ kind: 'load', id, load: load() });
}

function load(): WorkerLoad {
  const { connections: upstreamConnections, tunnels: upstreamTunnels } = plane.upstreamConnections;
  return { ...plane.active, upstreamConnections, upstreamTunnels, ejections: plane.balancer.ejections() };
}

if (netns === undefined) loop.run(handle);
else withNetns(netns, () => loop.run(handle));
