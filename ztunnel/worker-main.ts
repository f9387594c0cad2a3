// Entry of a data worker thread. Its reactor blocks in epoll, so the main thread posts messages and wakes it by an
// eventfd; messages are then read in one go.

import { flushCompileCache } from 'node:module';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Reactor } from '../mesh/io/reactor.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { closeListeners, DataPlane } from './data-plane.ts';
import type { FromWorker, ToWorker, WorkerStart } from './worker-messages.ts';
import { WorkerReport } from './worker-report.ts';

const port = parentPort;
if (port === null) throw new Error('worker-main.ts runs as a worker thread of the node tunnel only');
const post = (message: FromWorker): void => port.postMessage(message);
const { settings, flowMaps } = workerData as WorkerStart;

const reactor = new Reactor({
  onError: (error) => {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    post({ kind: 'log', level: 'error', message: 'A connection handler failed', fields: { error: text } });
  },
});
const report = new WorkerReport(post, { reactor, clock: systemClock, format: settings.logFormat });
const plane = new DataPlane(reactor, flowMaps, {
  settings,
  report,
  clock: systemClock,
  lookUp: (hostname) => post({ kind: 'look-up', hostname }),
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
      return plane.drain(() => post({ kind: 'drained' }));
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

reactor.onWake(() => {
  for (
    let received = receiveMessageOnPort(port);
    received !== undefined;
    received = receiveMessageOnPort(port)
  ) {
    try {
      handle(received.message as ToWorker);
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      post({
        kind: 'log',
        level: 'error',
        message: 'A message from the main thread failed',
        fields: { error: text },
      });
    }
  }
});
post({ kind: 'ready', wakeFd: reactor.wakeFd });
// For a start after a kill; from here on nothing but callbacks of the reactor runs.
flushCompileCache();
reactor.run();
reactor[Symbol.dispose]();
