// Endpoints that are written as names, from a pod to a real name server and on to where its answer leads.

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type Answer, decode, encode } from 'dns-packet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { makeService, makeWorkload, vip } from '../mesh/model/fixture.ts';
import type { Workload } from '../mesh/model/workload.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { HostnameLookups } from '../mesh/proxy/hostname-lookups.ts';
import { resolveBySystem } from '../mesh/proxy/system-resolver.ts';
import { DataPlaneRig, type RigPod } from './testing/data-plane-rig.ts';
import { connectFrom, ending, readAll, serve } from './testing/pod-sockets.ts';

const port = 8080;
const address = '198.51.100.7';

/** Answers A and AAAA from a map, on loopback; names it does not know do not exist. */
class TinyNameServer {
  readonly zone = new Map<string, { readonly ipv4: string; readonly ipv6: string }>();
  questions = 0;
  #socket: Socket = createSocket('udp4');

  async open(): Promise<string> {
    this.#socket.on('message', (message, from) => {
      this.questions++;
      const query = decode(message);
      const [question] = query.questions ?? [];
      const known = this.zone.get(question?.name ?? '');
      const data = question?.type === 'A' ? known?.ipv4 : known?.ipv6;
      const answers: Answer[] =
        question === undefined || data === undefined
          ? []
          : [{ type: question.type as 'A' | 'AAAA', name: question.name, ttl: 20, data }];
      const flags = 0x180 | (known === undefined ? 3 : 0);
      const reply = encode({
        type: 'response',
        id: query.id ?? 0,
        flags,
        questions: query.questions,
        answers,
      });
      this.#socket.send(reply, from.port, from.address);
    });
    this.#socket.bind(0, '127.0.0.1');
    await once(this.#socket, 'listening');
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  close(): void {
    this.#socket.close();
  }
}

describe.skipIf(skipKernelTests)(`an endpoint that is a name${skipReason}`, () => {
  const server = new TinyNameServer();
  const service = makeService('shop', 'db.shop.example', {
    addresses: [vip(address)],
    ports: [{ name: 'tcp', servicePort: port, targetPort: port, appProtocol: 'tcp' }],
  });
  let rig: DataPlaneRig;
  let client: RigPod;
  let outside: RigPod;
  let inside: RigPod;
  let lookups: HostnameLookups;

  beforeAll(async () => {
    rig = await DataPlaneRig.open();
    client = await rig.addPod('client');
    inside = await rig.addPod('inside', { node: 'node-2' });
    outside = await rig.addPod('outside', { enrolled: false });
    const servers = [await server.open()];
    lookups = new HostnameLookups({
      clock: systemClock,
      resolve: (hostname, signal) => resolveBySystem(hostname, signal, servers),
    });
    client.node.lookUp = (hostname) => lookups.lookUp(hostname);
  });

  afterAll(async () => {
    lookups.close();
    server.close();
    await rig[Symbol.asyncDispose]();
  });

  function endpoint(name: string, fields: Partial<Workload>): Workload {
    return makeWorkload(`Kubernetes/weft.dev/WorkloadEntry/shop/${name}`, {
      name,
      services: new Map([[service.key, [{ servicePort: port, targetPort: port }]]]),
      ...fields,
    });
  }

  async function hello(): Promise<string> {
    const socket = connectFrom(client, address, port);
    socket.end('hello');
    return (await readAll(socket)).toString();
  }

  it('is dialled where its name leads, with one question for many connections', async () => {
    server.zone.set('db.example', outside);
    await rig.apply({
      services: [service],
      workloads: [endpoint('db', { hostname: 'db.example', tunnelProtocol: 'none' })],
    });
    await using _server = serve(outside, port, (socket) => socket.end('from outside'));
    const answers = await Promise.all(Array.from({ length: 20 }, hello));
    expect(new Set(answers)).toEqual(new Set(['from outside']));
    expect(server.questions).toBe(2);
    const line = await client.node.logLine(/connection complete.*direction="outbound"/);
    expect(line).toContain(`dst.addr=${outside.ipv4}:${port}`);
  });

  it('is reached through a tunnel when it is in the mesh', async () => {
    server.zone.set('vm.example', inside);
    const { serviceAccount } = inside.workload;
    await rig.apply({
      workloads: [endpoint('db', { hostname: 'vm.example', tunnelProtocol: 'hbone', serviceAccount })],
    });
    await using _server = serve(inside, port, (socket) => socket.end('from inside'));
    const from = client.node.log.length;
    expect(await hello()).toBe('from inside');
    const line = await client.node.logLine(/connection complete.*direction="outbound"/, from);
    expect(line).toContain(`dst.hbone_addr=${inside.ipv4}:${port}`);
  });

  it('is passed over for another one when its name does not exist', async () => {
    await rig.apply({
      workloads: [
        endpoint('db', { hostname: 'gone.example', tunnelProtocol: 'none' }),
        endpoint('db-2', { addresses: [outside.ipv4], tunnelProtocol: 'none' }),
      ],
    });
    await using _server = serve(outside, port, (socket) => socket.end('from outside'));
    expect(await Promise.all(Array.from({ length: 8 }, hello))).toEqual(Array(8).fill('from outside'));
  });

  it('fails with the name and the reason when there is no other', async () => {
    await rig.apply({
      workloads: [endpoint('db-3', { hostname: 'gone.example', tunnelProtocol: 'none' })],
      removed: { workloads: [endpoint('db', {}).uid, endpoint('db-2', {}).uid] },
    });
    const from = client.node.log.length;
    await ending(connectFrom(client, address, port));
    const line = await client.node.logLine(/error=/, from);
    expect(line).toMatch(/Looking up the endpoint \\"gone\.example\\" failed: .*ENOTFOUND/);
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
  });
});
