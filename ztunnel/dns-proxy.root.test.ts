// The DNS proxy in a real network namespace: the sockets of both directions live there, not here.

import { execFileSync } from 'node:child_process';
import dgram from 'node:dgram';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ip, makeWorkload } from '../mesh/model/fixture.ts';
import { emptyDelta } from '../mesh/model/model.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import { withNetns } from '../mesh/io/netns.ts';
import { bindUdp, createUdpSocket } from '../mesh/io/udp-socket.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { Store } from '../mesh/state/store.ts';
import { DnsProxy } from './dns-proxy.ts';
import { addressesIn, countingMetrics, makeQuery, replyTo } from './dns-proxy.fixture.ts';

const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env['CI']) throw new Error('Kernel tests need root in CI');
const name = `weft-dns-${process.pid}`;
const path = `/run/netns/${name}`;

/** Adopts a descriptor made in the namespace. */
function adopt(make: () => number): dgram.Socket {
  const fd = withNetns(path, make);
  const socket = dgram.createSocket('udp4');
  socket.bind({ fd });
  return socket;
}

describe.skipIf(!isRoot)('DnsProxy in a network namespace (skipped without root)', () => {
  beforeEach(() => {
    execFileSync('ip', ['netns', 'add', name]);
    execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    execFileSync('ip', ['-n', name, 'address', 'add', '10.99.99.1/32', 'dev', 'lo']);
  });
  afterEach(() => {
    execFileSync('ip', ['netns', 'delete', name]);
  });

  it('listens there and forwards from there', async () => {
    const nameserver = adopt(() => bindUdp({ address: ip('10.99.99.1'), port: 53 }));
    const seen: string[] = [];
    nameserver.on('message', (request, from) => {
      seen.push(from.address);
      nameserver.send(replyTo(request, '192.0.2.1'), from.port, from.address);
    });
    const store = new Store();
    store.apply({ ...emptyDelta, workloads: [makeWorkload('web', { name: 'web' })] });
    const errors: Error[] = [];
    const proxy = new DnsProxy({
      snapshot: () => store.snapshot(),
      clock: systemClock,
      exempt: () => {},
      metrics: countingMetrics(),
      onError: (_, error) => errors.push(error),
    });
    const pod = {
      uid: 'web' as WorkloadUid,
      name: 'web',
      namespace: 'shop',
      serviceAccount: 'default',
      trustDomain: 'cluster.local',
      node: 'node-1',
      addresses: [ip('10.99.99.1')],
      netns: path,
      enrolled: true,
    };
    const client = adopt(() => createUdpSocket(2));
    try {
      expect(proxy.addPod({ pod, nameservers: [ip('10.99.99.1')] })).toEqual([
        { address: '10.99.99.1', port: 15053 },
      ]);
      const reply = new Promise<Buffer>((resolve) => client.once('message', resolve));
      client.send(makeQuery('example.org'), 15053, '10.99.99.1');
      expect(addressesIn(await reply)).toEqual(['192.0.2.1']);
      expect(seen).toEqual(['10.99.99.1']);
      expect(errors).toEqual([]);
    } finally {
      client.close();
      nameserver.close();
      proxy.close();
    }
  });

  it('says that the namespace is gone', () => {
    const proxy = new DnsProxy({
      snapshot: () => new Store().snapshot(),
      clock: systemClock,
      exempt: () => {},
      metrics: countingMetrics(),
      onError: () => {},
    });
    const pod = { ...makeWorkload('gone'), netns: `${path}-gone`, enrolled: true };
    expect(() => proxy.addPod({ pod, nameservers: [] })).toThrow(/Could not open network namespace/);
  });
});
