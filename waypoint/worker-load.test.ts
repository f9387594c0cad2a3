import { describe, expect, it } from 'vitest';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import { addLoads, noLoad } from './worker-load.ts';

const uid = (text: string) => text as WorkloadUid;

describe('addLoads()', () => {
  it('adds numbers up and names each ejected endpoint once, as ejected if one worker says so', () => {
    const one = { ...noLoad, connections: 1, requests: 2, upstreamConnections: 3, upstreamTunnels: 4 };
    const loads = [
      {
        ...one,
        ejections: [
          { uid: uid('a'), state: 'ejected' },
          { uid: uid('b'), state: 'probation' },
        ],
      },
      { ...one, ejections: [{ uid: uid('a'), state: 'probation' }] },
    ] as const;
    expect(addLoads(loads)).toEqual({
      connections: 2,
      requests: 4,
      upstreamConnections: 6,
      upstreamTunnels: 8,
      ejections: [
        { uid: 'a', state: 'ejected' },
        { uid: 'b', state: 'probation' },
      ],
    });
  });

  it('of none is no load', () => {
    expect(addLoads([])).toEqual(noLoad);
  });
});
