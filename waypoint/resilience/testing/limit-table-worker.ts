// A worker thread that takes tokens of shared buckets as fast as it can and says how many it got. For tests only.

import { parentPort, workerData } from 'node:worker_threads';
import { LimitTable } from '../limit-table.ts';

export interface TakerData {
  readonly memory: SharedArrayBuffer;
  readonly keys: number;
  readonly burst: number;
  readonly rounds: number;
}

const { memory, keys, burst, rounds } = workerData as TakerData;
const table = new LimitTable(memory);
const got = Array.from({ length: keys }, () => 0);
for (let round = 0; round < rounds; round++) {
  for (let key = 0; key < keys; key++) {
    const left = table.take(key, ~key, { shape: { emissionMs: 1_000, burst }, now: 5 });
    if (left >= 0) got[key] = (got[key] as number) + 1;
  }
}
parentPort?.postMessage(got);
