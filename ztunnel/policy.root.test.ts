// Policies on live traffic: what they cut, what they refuse, what they leave alone, and what both logs say. A change
// has taken effect when a node has acknowledged it: from then on nothing forbidden lives or begins.

import type net from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { makePolicy } from '../mesh/model/fixture.ts';
import type { PolicyKey } from '../mesh/model/workload.ts';
import { DataPlaneRig, type RigPod } from './testing/data-plane-rig.ts';
import {
  closed,
  connectFrom,
  echo,
  ending,
  type PodServer,
  roundTrip,
  serve,
  within,
} from './testing/pod-sockets.ts';
import { fromAccount, fromNobody } from './testing/rules.ts';

const port = 8080;
const denyBatch = makePolicy('shop', 'no-batch', {
  action: 'deny',
  rules: [fromAccount('batch-jobs', 'batch')],
});

describe.skipIf(skipKernelTests)(`authorization on live traffic${skipReason}`, () => {
  let rig: DataPlaneRig;
  let web: RigPod;
  let batch: RigPod;
  let api: RigPod;
  let stranger: RigPod;
  let server: PodServer;

  beforeAll(async () => {
    rig = await DataPlaneRig.open();
    web = await rig.addPod('web');
    batch = await rig.addPod('batch');
    api = await rig.addPod('api', { node: 'node-2' });
    stranger = await rig.addPod('stranger', { enrolled: false });
  });

  beforeEach(() => {
    server = serve(api, port, echo);
  });

  afterEach(async () => {
    await server[Symbol.asyncDispose]();
    await forget(denyBatch.key);
    await Promise.all(rig.nodes.map((node) => node.idle()));
  });

  afterAll(async () => {
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
    await rig[Symbol.asyncDispose]();
  });

  async function forget(...policies: PolicyKey[]): Promise<void> {
    await rig.apply({ removed: { policies } });
  }

  /** An open echo connection to the API. */
  async function open(from: RigPod): Promise<net.Socket> {
    const socket = connectFrom(from, api.ipv4, port);
    expect(await roundTrip(socket)).toBe('ping');
    return socket;
  }

  it('cuts the connection it forbids, leaves the others, and both logs name policy and rule', async () => {
    const allowed = await open(web);
    const forbidden = await open(batch);
    await rig.apply({ policies: [denyBatch] });
    expect(await ending(forbidden)).toBe('ECONNRESET');
    expect(await roundTrip(allowed)).toBe('ping');
    const said = /error="connection denied by policy shop\/no-batch rule batch-jobs.*response_flags="DENY"/;
    expect(await api.node.logLine(said)).toContain('direction="inbound"');
    expect(await batch.node.logLine(said)).toContain('direction="outbound"');
    allowed.destroy();
  });

  it('refuses a new connection it forbids, and both logs name policy and rule', async () => {
    await rig.apply({ policies: [denyBatch] });
    const [here, there] = [batch.node.log.length, api.node.log.length];
    const before = server.accepted.length;
    expect(await ending(connectFrom(batch, api.ipv4, port))).toBe('ECONNRESET');
    const said = /connection failed.*connection denied by policy shop\/no-batch rule batch-jobs/;
    expect(await batch.node.logLine(said, here)).toContain('direction="outbound"');
    expect(await api.node.logLine(said, there)).toContain('direction="inbound"');
    expect(server.accepted.length).toBe(before);
  });

  it('names the ALLOW policy that was asked when none of its rules matched', async () => {
    const onlyWeb = makePolicy('shop', 'only-web', { rules: [fromAccount('web-front', 'web')] });
    await rig.apply({ policies: [onlyWeb] });
    const from = batch.node.log.length;
    expect(await ending(connectFrom(batch, api.ipv4, port))).toBe('ECONNRESET');
    await batch.node.logLine(/no allow policy matched \(asked shop\/only-web\)/, from);
    (await open(web)).destroy();
    await forget(onlyWeb.key);
  });

  it('cuts when only the workload changes: it names a policy that was there before', async () => {
    const selected = makePolicy('shop', 'selected', {
      scope: 'workload',
      action: 'deny',
      rules: [fromAccount('batch', 'batch')],
    });
    await rig.apply({ policies: [selected] });
    const socket = await open(batch);
    const { workload } = api;
    await rig.apply({ workloads: [{ ...workload, authorizationPolicies: [selected.key] }] });
    expect(await ending(socket)).toBe('ECONNRESET');
    await rig.apply({ workloads: [workload], removed: { policies: [selected.key] } });
  });

  it('denies plaintext by reset, cuts open plaintext, and admits it again', async () => {
    const strict = makePolicy('shop', 'strict', { action: 'deny', rules: [fromNobody] });
    const plain = await open(stranger);
    const meshed = await open(web);
    for (let flip = 0; flip < 3; flip++) {
      const from = api.node.log.length;
      await rig.apply({ policies: [strict] });
      if (flip === 0) expect(await ending(plain)).toBe('ECONNRESET');
      expect(await ending(connectFrom(stranger, api.ipv4, port))).toBe('ECONNRESET');
      await api.node.logLine(/connection failed.*policy shop\/strict rule strict/, from);
      expect(await roundTrip(meshed)).toBe('ping');
      await forget(strict.key);
      (await open(stranger)).destroy();
    }
    meshed.destroy();
  });

  it('says what AUDIT and dry-run policies would have done, and does nothing', async () => {
    const audit = makePolicy('shop', 'watch', { action: 'audit', rules: [fromAccount('seen', 'batch')] });
    const dry = makePolicy('shop', 'maybe', {
      action: 'deny',
      dryRun: true,
      rules: [fromAccount('', 'batch')],
    });
    await rig.apply({ policies: [audit, dry] });
    const from = api.node.log.length;
    const socket = await open(batch);
    const line = await api.node.logLine(/policy audit/, from);
    expect(line).toContain('shop/watch rule seen');
    expect(line).toContain('shop/maybe rule 0 (would deny)');
    expect(line).toContain('src.identity="spiffe://cluster.local/ns/shop/sa/batch"');
    expect(await roundTrip(socket)).toBe('ping');
    socket.destroy();
    await forget(audit.key, dry.key);
  });

  it('has nothing forbidden alive or admitted after any of 40 flips, under a loop of connects', async () => {
    let forbiddenSince = 0;
    let stopping = false;
    const faults: string[] = [];
    const open_ = new Set<net.Socket>();
    let admitted = 0;
    let refused = 0;

    /** Connects again and again; an answer to a connect that began after a denial was acknowledged is a fault. */
    const loop = async (): Promise<void> => {
      while (!stopping) {
        const begunIn = forbiddenSince;
        const socket = connectFrom(batch, api.ipv4, port);
        open_.add(socket);
        const answer = await roundTrip(socket);
        const still = begunIn !== 0 && begunIn === forbiddenSince;
        if (answer === 'ping' && still) faults.push(`admitted after denial ${begunIn}`);
        if (answer === 'ping') admitted++;
        else refused++;
        // Some stay open, to be cut by the next denial.
        if (answer !== 'ping' || admitted % 4 !== 0) {
          open_.delete(socket);
          socket.destroy();
        }
        await turn();
      }
    };
    const loops = Promise.all(Array.from({ length: 6 }, loop));
    for (let flip = 1; flip <= 40; flip++) {
      await rig.apply({ policies: [denyBatch] });
      forbiddenSince = flip;
      const alive = (await api.node.connections()).filter(({ src }) => src.startsWith(`${batch.ipv4}:`));
      if (alive.length > 0) faults.push(`${alive.length} alive after denial ${forbiddenSince}`);
      const held = [...open_];
      await within('what is forbidden to be cut', Promise.all(held.map(closed)));
      for (const socket of held) open_.delete(socket);
      const enough = refused + 3;
      await within(
        'refusals',
        until(() => refused >= enough),
      );
      forbiddenSince = 0;
      await forget(denyBatch.key);
      const more = admitted + 5;
      await within(
        'admissions',
        until(() => admitted >= more),
      );
    }
    stopping = true;
    await loops;
    for (const socket of open_) socket.destroy();
    expect(faults).toEqual([]);
  }, 60_000);
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await turn();
}
