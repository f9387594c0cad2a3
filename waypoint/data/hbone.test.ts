import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import { connect, createServer as createTcp } from 'node:net';
import { describe, expect, it } from 'vitest';
import { openDescriptors } from '../../mesh/io/testing/leaks.ts';
import { emptyMatch } from '../../mesh/model/authorization.ts';
import { makePolicy, makeWorkload } from '../../mesh/model/fixture.ts';
import type { SpiffeId } from '../../mesh/model/spiffe-id.ts';
import { headerValue } from '../../mesh/h2/header.ts';
import { freePort, HboneSide, webId } from '../testing/hbone-side.ts';
import { gateway, loopback, PlaneRig, waypointAddress } from '../testing/plane-rig.ts';

const apiId = 'spiffe://cluster.local/ns/shop/sa/api' as SpiffeId;

async function get(rig: PlaneRig, port: number, path = '/'): Promise<{ status: number; body: string }> {
  const outgoing = request({ port, host: '127.0.0.1', agent: false, path, headers: { host: 'api.shop' } });
  outgoing.end();
  const answered = (async () => {
    const [message] = (await once(outgoing, 'response')) as [IncomingMessage];
    let body = '';
    for await (const part of message) body += String(part);
    return { status: message.statusCode ?? 0, body };
  })();
  return await rig.until('the answer', answered);
}

/** A service whose endpoint is in the mesh, behind a node of its own. */
async function meshWorld(settings: ConstructorParameters<typeof PlaneRig>[0] = {}) {
  const hbonePort = freePort();
  const rig = new PlaneRig(settings, { hbonePort });
  const seen: IncomingMessage['headers'][] = [];
  const app = createServer((incoming, outgoing) => {
    seen.push(incoming.headers);
    outgoing.end(`hello ${incoming.url}`);
  });
  const target = await rig.serve(app);
  const side = await HboneSide.open(rig);
  await side.serveEndpoints(hbonePort, apiId);
  const service = rig.service('api', [target], {
    workload: { tunnelProtocol: 'hbone', serviceAccount: 'api' },
  });
  return { rig, side, service, target, seen };
}

describe('a client in a tunnel', () => {
  it('reaches an endpoint in another tunnel, under the identity of the waypoint', async () => {
    const before = openDescriptors();
    {
      const { rig, side, target, seen } = await meshWorld();
      await using _rig = rig;
      const port = side.capture('10.96.0.1:80', [['forwarded', 'for="127.0.0.1:4711"']]);
      for (let i = 0; i < 3; i++)
        expect(await get(rig, port, `/${i}`)).toEqual({ status: 200, body: `hello /${i}` });
      expect(side.peers[0]).toBe('shop/waypoint');
      expect(headerValue(side.connects[0] ?? [], ':authority')).toBe(`127.0.0.1:${target}`);
      expect(headerValue(side.connects[0] ?? [], 'forwarded')).toBeUndefined();
      expect(seen[0]?.['x-forwarded-for']).toBe('127.0.0.1');
      const { connection } = await rig.record();
      expect(connection).toMatchObject({
        spiffeId: webId,
        port: 4711,
        namespace: 'shop',
        authority: '10.96.0.1:80',
        listener: 'hbone',
      });
    }
    expect(openDescriptors()).toBe(before);
  });

  it('is refused what this waypoint does not serve, and told why', async () => {
    const { rig, side } = await meshWorld();
    await using _rig = rig;
    const socket = side.connect('10.96.0.1:81');
    await rig.until('the refusal', new Promise((resolve) => socket.once('close', resolve)));
    await rig.when('the client to hear of it', () => side.failures.length > 0);
    expect(side.failures[0]).toMatch(/status 404.*has no port 81/);
    expect(rig.refusals[0]).toMatchObject({ status: 404, authority: '10.96.0.1:81', spiffeId: webId });
  });

  it('is refused with 503 when the waypoint has as many connections as it takes', async () => {
    const { rig, side } = await meshWorld({ maxConnections: 2 });
    await using _rig = rig;
    const port = side.capture('10.96.0.1:80');
    const [one, two] = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
    for (const socket of [one, two]) socket.on('error', () => {});
    await rig.when('the refusal', () => rig.refusals.length === 1);
    expect(rig.refusals[0]).toMatchObject({ status: 503 });
    await rig.when('the client to hear of it', () => side.failures.length > 0);
    expect(side.failures[0]).toMatch(/as many connections as it takes/);
    one.destroy();
    two.destroy();
  });

  it('is known by its certificate to policies and to the application where the gateway says so', async () => {
    const { rig, side, seen } = await meshWorld();
    await using _rig = rig;
    rig.apply({
      waypoints: [
        { gateway, servesFor: 'service', serviceAccount: 'waypoint', addresses: [], forwardClientCert: true },
      ],
      policies: [
        makePolicy('shop', 'only-web', {
          rules: [
            {
              name: 'web',
              clauses: [
                {
                  matches: [
                    { ...emptyMatch, serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] },
                  ],
                },
              ],
            },
          ],
        }),
      ],
    });
    const port = side.capture('10.96.0.1:80');
    expect((await get(rig, port)).status).toBe(200);
    expect(seen[0]?.['x-forwarded-client-cert']).toBe(
      `By=spiffe://cluster.local/ns/shop/sa/waypoint;URI=${webId}`,
    );
    rig.apply({ policies: [makePolicy('shop', 'only-web')] });
    expect(await get(rig, port)).toEqual({ status: 403, body: 'access denied\n' });
    expect(await rig.record(1)).toMatchObject({ flag: 'UAEX', attempts: 0 });
  });

  it('reaches a workload by its own address, without routes and with policies', async () => {
    const { rig, side, target, service } = await meshWorld();
    await using _rig = rig;
    const workload = makeWorkload('pod', {
      addresses: [loopback],
      tunnelProtocol: 'none',
      waypoint: waypointAddress,
    });
    rig.apply({
      workloads: [workload],
      removed: { workloads: rig.plane.snapshot.endpointsOf(service.key).map(({ uid }) => uid) },
    });
    const port = side.capture(`127.0.0.1:${target}`);
    expect((await get(rig, port)).status).toBe(200);
    expect(await rig.record()).toMatchObject({ service: undefined, endpoint: { uid: 'pod' } });
    rig.apply({ policies: [makePolicy('shop', 'nobody')] });
    expect((await get(rig, port)).status).toBe(403);
  });

  it('is seen by a TCP application under its own address', async () => {
    const { rig, side } = await meshWorld();
    await using _rig = rig;
    const echo = await rig.serve(createTcp((socket) => socket.pipe(socket)));
    rig.service('db', [echo], {
      appProtocol: 'tcp',
      workload: { tunnelProtocol: 'hbone', serviceAccount: 'api' },
    });
    const socket = side.connect('10.96.0.2:80', [['forwarded', 'for="127.0.0.1:4711"']]);
    socket.write('ping');
    await rig.until('the echo', once(socket, 'data'));
    expect(headerValue(side.connects[0] ?? [], 'forwarded')).toBe('for="127.0.0.1:4711"');
  });
});

describe('what changes under traffic', () => {
  it('loses no request when the certificate is renewed', async () => {
    const { rig, side } = await meshWorld();
    await using _rig = rig;
    const port = side.capture('10.96.0.1:80');
    const statuses: number[] = [];
    for (let i = 0; i < 30; i++) {
      if (i % 10 === 5)
        rig.plane.setCertificate(
          'spiffe://cluster.local/ns/shop/sa/waypoint' as SpiffeId,
          await side.authority.issue({ uris: ['spiffe://cluster.local/ns/shop/sa/waypoint'] }),
        );
      statuses.push((await get(rig, port)).status);
    }
    expect(new Set(statuses)).toEqual(new Set([200]));
  });

  it('hides that the node of an endpoint lost its tunnels', async () => {
    const { rig, side } = await meshWorld();
    await using _rig = rig;
    const port = side.capture('10.96.0.1:80');
    for (let i = 0; i < 5; i++) {
      expect((await get(rig, port)).status).toBe(200);
      side.dropEndpoints();
    }
  });

  it('gives up an endpoint whose node takes the connection and says nothing', async () => {
    const { rig, side } = await meshWorld({ connectTimeoutMs: 50, handshakeTimeoutMs: 500 });
    await using _rig = rig;
    side.silent = true;
    expect((await get(rig, side.capture('10.96.0.1:80'))).status).toBe(503);
    const record = await rig.record();
    expect([record.flag, record.details]).toEqual([
      'UF',
      expect.stringMatching(/no answer to CONNECT in 800 ms/),
    ]);
  });

  it('drains: what is under way ends, then the plane says it is idle', async () => {
    const { rig, side } = await meshWorld();
    await using _rig = rig;
    const port = side.capture('10.96.0.1:80');
    expect((await get(rig, port)).status).toBe(200);
    let idle = false;
    rig.plane.drain(() => {
      idle = true;
    });
    await rig.when('the plane to be idle', () => idle);
    expect(rig.plane.active).toEqual({ connections: 0, requests: 0 });
  });
});
