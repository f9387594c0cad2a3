import { describe, expect, it } from 'vitest';
import { ip } from '../mesh/model/fixture.ts';
import type { CapturedPod } from './captured-pod.ts';
import { makeConnectionInfo } from './connection-info.fixture.ts';
import type { ConnectionInfo } from './connection-info.ts';
import { ConnectionTable, type TrackedConnection } from './connection-table.ts';

function makePod(name: string): CapturedPod {
  return { pod: { namespace: 'shop', name } } as unknown as CapturedPod;
}

interface Recorder extends TrackedConnection {
  readonly calls: string[];
}

/** Records what it is told; as the real ones, it takes itself off the table when it is cut. */
function makeConnection(
  table: ConnectionTable,
  pod: CapturedPod,
  { info = {}, denied = false }: { info?: Partial<ConnectionInfo>; denied?: boolean } = {},
): Recorder {
  const calls: string[] = [];
  const connection: Recorder = {
    place: -1,
    pod,
    calls,
    info: makeConnectionInfo(info),
    recheck: () => {
      calls.push('recheck');
      if (denied) connection.cut('denied');
    },
    cut: (reason) => {
      calls.push(`cut: ${reason}`);
      table.delete(connection);
    },
    progress: () => ({ received: 3, sent: 5 }),
  };
  table.add(connection);
  return connection;
}

describe('ConnectionTable', () => {
  it('counts all connections and those of a pod', () => {
    const table = new ConnectionTable();
    const [web, api] = [makePod('web'), makePod('api')];
    const first = makeConnection(table, web);
    makeConnection(table, web);
    makeConnection(table, api);
    expect([table.size, table.countOf(web), table.countOf(api)]).toEqual([3, 2, 1]);
    table.delete(first);
    table.delete(first);
    expect([table.size, table.countOf(web), table.countOf(api)]).toEqual([2, 1, 1]);
    expect(table.countOf(makePod('web'))).toBe(0);
  });

  it('asks each connection once, also when some cut themselves meanwhile', () => {
    const table = new ConnectionTable();
    const pod = makePod('web');
    const all = [true, false, true, false].map((denied) => makeConnection(table, pod, { denied }));
    table.recheckAll();
    expect(all.map(({ calls }) => calls)).toEqual([
      ['recheck', 'cut: denied'],
      ['recheck'],
      ['recheck', 'cut: denied'],
      ['recheck'],
    ]);
    expect([table.size, table.countOf(pod)]).toEqual([2, 2]);
  });

  it('cuts the connections of one pod only, or all', () => {
    const table = new ConnectionTable();
    const [web, api] = [makePod('web'), makePod('api')];
    const ofWeb = makeConnection(table, web);
    const ofApi = makeConnection(table, api);
    table.cutAll('the pod is gone', web);
    expect(ofWeb.calls).toEqual(['cut: the pod is gone']);
    expect(ofApi.calls).toEqual([]);
    table.cutAll('the end');
    expect(ofWeb.calls).toHaveLength(1);
    expect(ofApi.calls).toEqual(['cut: the end']);
    expect(table.size).toBe(0);
  });

  it('sums up the oldest connections first, and no more than asked for', () => {
    const table = new ConnectionTable();
    const pod = makePod('web');
    makeConnection(table, pod, {
      info: {
        startedAt: 1_000,
        mutualTls: true,
        hboneAuthority: '10.0.0.2:80',
        sourceAddress: ip('10.0.0.1'),
        sourcePort: 4711,
      },
    });
    makeConnection(table, pod, {
      info: {
        startedAt: 2_000,
        direction: 'inbound',
        destinationAddress: ip('10.0.0.3'),
        destinationPort: 81,
      },
    });
    expect(table.summaries(5_000, 1)).toEqual([
      {
        pod: 'shop/web',
        direction: 'outbound',
        src: '10.0.0.1:4711',
        dst: '10.0.0.2:80',
        protocol: 'HBONE',
        ageMs: 4_000,
        received: 3,
        sent: 5,
      },
    ]);
    expect(table.summaries(5_000, 10)[1]).toMatchObject({
      direction: 'inbound',
      dst: '10.0.0.3:81',
      protocol: 'TCP',
      ageMs: 3_000,
    });
  });
});
