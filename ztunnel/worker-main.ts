// Entry of a data worker's thread: puts a data plane on a loop and does what the main thread says.

import { workerData } from 'node:worker_threads';
import { WorkerLoop } from '../mesh/proxy/worker-loop.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { closeListeners, DataPlane } from './data-plane.ts';
import type { FromWorker, ToWorker, WorkerStart } from './worker-messages.ts';
import { WorkerReport } from './worker-report.ts';

const loop = new WorkerLoop<ToWorker, FromWorker>();
const { reactor } = loop;
const post = (message: FromWorker): void => loop.post(message);
const { settings, flowMaps, selfProbe } = workerData as WorkerStart;

const report = new WorkerReport(post, { reactor, clock: systemClock, format: settings.logFormat });
const plane = new DataPlane(reactor, flowMaps, {
  settings,
  report,
  clock: systemClock,
  selfProbe,
  lookUp: (hostname) => post({ kind: 'look-up', hostname }),
  proven: (connection) => post({ kind: 'proven', connection }),
});

function handle(message: ToWorker): void {
  switch (message.kind) {
    case 'model':
      return plane.applyModel(message.delta);
    case 'certificate':
      return plane.setCertificate(message.spiffeId, message.credentials);
    case 'certificate-removed':
      return plane.certificates.delete(message.spiffeId);
    case 'pod-added':
      return addPod(message.workerPod);
    case 'pod-removed':
      return plane.removePod(message.uid, message.how);
    case 'query':
      return answer(message.id, message.what);
    case 'looked-up':
      return plane.hostnames.answer(message.hostname, message.answer);
    case 'drain':
      return plane.drain(message.how, () => post({ kind: 'drained' }));
    case 'stop':
      plane.close('the node tunnel stops');
      report.flush();
      post({ kind: 'stopped' });
      return reactor.stop();
  }
}

function addPod(workerPod: Extract<ToWorker, { kind: 'pod-added' }>['workerPod']): void {
  try {
    plane.addPod(workerPod);
  } catch (error) {
    closeListeners(workerPod);
    throw error;
  }
}

function answer(id: number, what: 'metrics' | 'connections'): void {
  if (what === 'metrics') post({ kind: 'metrics', id, metrics: report.metrics() });
  else post({ kind: 'connections', id, connections: plane.connections.summaries(systemClock.now(), 10_000) });
}

loop.run(handle);
