// Where connections go: Services with several endpoints, addresses outside the mesh, the pod itself, both families.
// What can be tried again safely never fails; what may not go anywhere is refused with the reason.

import type net from 'node:net';
import { execFileSync } from 'node:child_process';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import type { TestPod } from '../bpf/testing/test-network.ts';
import { makeService, makeWorkload, vip } from '../mesh/model/fixture.ts';
import { defaultMeshConfig } from '../mesh/model/mesh-config.ts';
import type { Service } from '../mesh/model/service.ts';
import { DataPlaneRig, type RigPod } from './testing/data-plane-rig.ts';
import {
  closed,
  connectFrom,
  echo,
  ending,
  type PodServer,
  readAll,
  roundTrip,
  serve,
  within,
} from './testing/pod-sockets.ts';

const port = 8080;
const address = '10.96.0.20';
const address6 = 'fd96::20';
const service = makeService('shop', 'api.shop.svc.cluster.local', {
  addresses: [vip(address), vip(address6)],
  ports: [{ name: 'http', servicePort: 80, targetPort: port, appProtocol: 'unknown' }],
});
/** Without regard to how long connects take, which on a busy machine says little. */
const inTurn: Service = { ...service, trafficPolicy: { key: 'shop/in-turn', balancing: 'round-robin' } };

describe.skipIf(skipKernelTests)(`destinations of a captured pod${skipReason}`, () => {
  let rig: DataPlaneRig;
  let client: RigPod;
  let apis: RigPod[];
  let servers: PodServer[];
  /** In the network, but in no model. */
  let unknown: TestPod;

  beforeAll(async () => {
    rig = await DataPlaneRig.open({ connectTimeoutMs: 1_500 });
    const workload = { services: new Map([[service.key, []]]) };
    client = await rig.addPod('client');
    apis = [];
    for (const [label, node] of [
      ['api-1', 'node-1'],
      ['api-2', 'node-2'],
      ['api-3', 'node-2'],
    ] as const) {
      apis.push(await rig.addPod(label, { node, serviceAccount: 'api', workload }));
    }
    servers = apis.map((pod) => serve(pod, port, hello(pod)));
    unknown = rig.network.addPod('unknown');
    await rig.apply({ services: [service] });
  });

  afterEach(async () => {
    await rig.apply({ services: [service], meshConfig: defaultMeshConfig });
  });

  afterAll(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]();
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
    await rig[Symbol.asyncDispose]();
  });

  /** Says its pod's name and the client's address, then ends. */
  function hello(pod: { readonly workload: { readonly name: string } }) {
    return (socket: net.Socket) => socket.end(`${pod.workload.name} ${socket.remoteAddress}`);
  }

  /** What the server of one connection said; `''` when it failed. */
  async function ask(from: TestPod, host: string, toPort = 80): Promise<string> {
    const socket = connectFrom(from, host, toPort);
    const failed = new Promise<string>((resolve) => socket.once('error', () => resolve('')));
    const said = readAll(socket).then((bytes) => bytes.toString());
    said.catch(() => {});
    const answer = await Promise.race([said, failed]);
    socket.destroy();
    return answer;
  }

  it.each([address, address6])(
    'spreads connections to %s over all endpoints, and they see the client',
    async (host) => {
      const seen = new Set<string>();
      await rig.apply({ services: [inTurn] });
      for (let i = 0; i < 6; i++) seen.add(await ask(client, host));
      const own = host === address ? client.ipv4 : client.ipv6;
      expect([...seen].sort()).toEqual([`api-1 ${own}`, `api-2 ${own}`, `api-3 ${own}`]);
    },
  );

  it('fails no connection when an endpoint stops listening under load', async () => {
    let stopping = false;
    let answers = 0;
    const failures: string[] = [];
    const loops = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (!stopping) {
          const answer = await ask(client, address);
          if (answer === '') failures.push(`after ${answers}`);
          else answers++;
        }
      }),
    );
    await within(
      'load',
      until(() => answers > 50),
    );
    const tries = client.node.log.length;
    // No connection of it is open longer than its one answer: what fails now could have been tried again.
    await servers[2]?.[Symbol.asyncDispose]();
    const more = answers + 300;
    await within(
      'load after the end of an endpoint',
      until(() => answers > more),
    );
    stopping = true;
    await loops;
    servers[2] = serve(apis[2] as RigPod, port, hello(apis[2] as RigPod));
    expect(failures.length, failures.join()).toBeLessThanOrEqual(4);
    const failed = client.node.log.slice(tries).filter((line) => line.includes('connection failed'));
    expect(failed).toEqual([]);
  });

  it('goes on when a pod with endpoints is gone with its network', async () => {
    const extra = await rig.addPod('api-4', {
      node: 'node-2',
      serviceAccount: 'api',
      workload: { services: new Map([[service.key, []]]) },
    });
    await using _server = serve(extra, port, hello(extra));
    execFileSync('ip', ['-n', extra.name, 'link', 'set', 'eth0', 'down']);
    for (let i = 0; i < 12; i++) expect(await ask(client, address)).toMatch(/^api-[123] /);
    await rig.release(extra, 'now');
    await rig.apply({ removed: { workloads: [extra.workload.uid] } });
  });

  it('refuses more connections to a service than its TrafficPolicy allows, and takes new ones when some end', async () => {
    const echoing = apis.map((pod) => serve(pod, 9_000, echo));
    const limited: Service = {
      ...service,
      ports: [
        ...service.ports,
        { name: 'echo', servicePort: 9_000, targetPort: 9_000, appProtocol: 'unknown' },
      ],
      trafficPolicy: { key: 'shop/limit', maxConnections: 3 },
    };
    await rig.apply({ services: [limited] });
    const open = [1, 2, 3].map(() => connectFrom(client, address, 9_000));
    for (const socket of open) expect(await roundTrip(socket)).toBe('ping');
    const from = client.node.log.length;
    expect(await ending(connectFrom(client, address, 9_000))).toBe('ECONNRESET');
    await client.node.logLine(/connection failed.*limit/i, from);
    const first = open.shift();
    first?.end();
    await within('the connection to end', readAll(first as net.Socket));
    await client.node.logLine(/connection complete/, from);
    const next = connectFrom(client, address, 9_000);
    expect(await roundTrip(next)).toBe('ping');
    for (const socket of [...open, next]) {
      socket.destroy();
      await closed(socket);
    }
    for (const server of echoing) await server[Symbol.asyncDispose]();
  });

  it('refuses a port the service does not have, and a service without endpoints', async () => {
    const from = client.node.log.length;
    expect(await ending(connectFrom(client, address, 81))).toBe('ECONNRESET');
    await client.node.logLine(/connection failed.*81/, from);
    const empty = makeService('shop', 'empty', { addresses: [vip('10.96.0.21')], ports: service.ports });
    await rig.apply({ services: [empty] });
    expect(await ending(connectFrom(client, '10.96.0.21', 80))).toBe('ECONNRESET');
    await client.node.logLine(/connection failed.*no .*endpoint/i, from);
    await rig.apply({ removed: { services: [empty.key] } });
  });

  it('passes unknown destinations through, or refuses them where MeshConfig says so', async () => {
    await using _server = serve(unknown, port, (socket) => socket.end(`unknown ${socket.remoteAddress}`));
    for (const family of ['ipv4', 'ipv6'] as const) {
      expect(await ask(client, unknown[family], port)).toBe(`unknown ${client[family]}`);
      await rig.apply({ meshConfig: { ...defaultMeshConfig, unknownDestinations: 'deny' } });
      const from = client.node.log.length;
      expect(await ending(connectFrom(client, unknown[family], port))).toBe('ECONNRESET');
      await client.node.logLine(/MeshConfig denies unknown destinations/, from);
      await rig.apply({ meshConfig: defaultMeshConfig });
    }
  });

  it('reaches the addresses of a ServiceEntry in plaintext, by its own and by its virtual address', async () => {
    await using _server = serve(unknown, 5_432, (socket) => socket.end('the database'));
    const entry = makeService('shop', 'db.example.com', {
      addresses: [vip('240.240.0.1')],
      ports: [{ name: 'tcp', servicePort: 5_432, targetPort: 5_432, appProtocol: 'tcp' }],
    });
    const machine = makeWorkload('Kubernetes/ServiceEntry/shop/db', {
      name: 'db',
      addresses: [unknown.ipv4],
      tunnelProtocol: 'none',
      services: new Map([[entry.key, []]]),
    });
    const denied = { ...defaultMeshConfig, unknownDestinations: 'deny' } as const;
    await rig.apply({ services: [entry], workloads: [machine], meshConfig: denied });
    expect(await ask(client, '240.240.0.1', 5_432)).toBe('the database');
    expect(await ask(client, unknown.ipv4, 5_432)).toBe('the database');
    await rig.apply({ removed: { services: [entry.key], workloads: [machine.uid] } });
  });

  it('lets a pod reach itself by Service address and by its own address', async () => {
    const self = apis[0] as RigPod;
    const names = new Set<string>();
    await rig.apply({ services: [inTurn] });
    for (let i = 0; i < 3; i++) names.add(await ask(self, address));
    expect(names).toContain(`api-1 ${self.ipv4}`);
    expect(await ask(self, self.ipv4, port)).toBe(`api-1 ${self.ipv4}`);
    expect(await ask(self, self.ipv6, port)).toBe(`api-1 ${self.ipv6}`);
  });

  it('leaves loopback of a captured pod alone', async () => {
    const self = apis[0] as RigPod;
    const from = self.node.log.length;
    const socket = connectFrom(self, '127.0.0.1', 9_999);
    socket.write('x');
    expect(await ending(socket)).toBe('ECONNREFUSED');
    expect(self.node.log.slice(from).filter((line) => line.includes('9999'))).toEqual([]);
  });

  it.each(['ipv4', 'ipv6'] as const)(
    'tunnels to a pod address, as of a headless service (%s)',
    async (family) => {
      const api = apis[1] as RigPod;
      const from = client.node.log.length;
      expect(await ask(client, api[family], port)).toBe(`api-2 ${client[family]}`);
      const line = await client.node.logLine(
        /connection complete.*src.workload="client".*dst.workload="api-2"/,
        from,
      );
      expect(line).toContain('dst.identity="spiffe://cluster.local/ns/shop/sa/api"');
      expect(line).not.toContain('dst.service');
    },
  );

  it('takes an IPv4-mapped address of an IPv6 socket for the IPv4 address it is', async () => {
    const seen = await rig.network.dial(client, 'blocking', [`::ffff:${address}`, 80]);
    expect(seen.reply).toMatch(new RegExp(`^api-[123] ${client.ipv4}$`));
    expect(seen.peer).toMatch(new RegExp(`^(::ffff:)?${address} 80$`));
  });
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await turn();
}
