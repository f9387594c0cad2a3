// The client of caller-main.ts in a pod: takes a batch, answers with its answers.

import { serveOnLoopback } from '../lab/loopback-server.ts';
import { type Batch, runBatch } from './caller-main.ts';

serveOnLoopback(9501, (batch) => runBatch(batch as Batch));
