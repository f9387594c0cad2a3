// A data worker as far as the kernel lookups go: makes its own FlowMaps from posted numbers and answers one question.

import { parentPort, workerData } from 'node:worker_threads';
import { FlowMaps, type FlowMapFds } from '../flow-maps.ts';

const { fds, accepted } = workerData as { readonly fds: FlowMapFds; readonly accepted: number };
parentPort?.postMessage(new FlowMaps(fds).originalDestination(accepted));
