// Proof and repair together on the real kernel: what somebody breaks by hand is seen, told and put right, and a pod that is
// older than its capture shows the connections it had.

import { once } from 'node:events';
import { createServer, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { detachLinks } from '../bpf/testing/detach-links.ts';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { listenTcp, createTcpSocket, startConnect } from '../mesh/io/socket.ts';
import { AF_INET } from '../mesh/io/libc.ts';
import { withNetns } from '../mesh/io/netns.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import { EarlierConnections, listOpenConnections } from './earlier-connections.ts';
import { PodCapturer } from './pod-capturer.ts';
import { ProvenCapturer } from './proven-capturer.ts';
import { probeOutbound } from './self-probe.ts';
import { type ProofState, SelfProbes } from './self-probes.ts';
import { DataPlaneRig, type RigNode, type RigPod } from './testing/data-plane-rig.ts';
import { within } from './testing/pod-sockets.ts';

const silent = createLogger({ component: 'test', level: 'silent' });

/** A node's capture as `weft ztunnel` puts it together, with a log of the states of its only pod. */
class Watched {
  readonly probes: SelfProbes;
  readonly capturer: ProvenCapturer;
  readonly earlier: EarlierConnections;
  readonly recaptured: string[] = [];
  #wake = (): void => {};

  constructor(node: RigNode) {
    const { redirect, flows: flowMaps, selfProbeSecret: secret } = node;
    const changed = (): void => this.#wake();
    this.earlier = new EarlierConnections({
      list: listOpenConnections(() => redirect.fds.sockets),
      clock: systemClock,
      logger: silent,
      onChange: changed,
    });
    this.probes = new SelfProbes({
      redirect,
      probe: (target) => probeOutbound(target, { flowMaps, secret, clock: systemClock, timeoutMs: 500 }),
      outOfReach: () => undefined,
      recapture: (uid, reason) => {
        this.recaptured.push(reason);
        this.capturer.recapture(uid, reason);
      },
      onChange: changed,
      metrics: { probed: () => {}, repaired: () => {} },
      intervalMs: 200,
      clock: systemClock,
      logger: silent,
    });
    const dns = { addPod: () => [], removePod: () => {} };
    const capturer = new PodCapturer({ redirect, workers: [node.worker], dns, sameNode: undefined });
    this.capturer = new ProvenCapturer({
      capturer,
      probes: this.probes,
      earlier: this.earlier,
      dns,
      logger: silent,
    });
  }

  /** The first state from now on that fits. */
  async until(pod: RigPod, fits: (state: ProofState) => boolean): Promise<ProofState> {
    return await within(
      `a state of ${pod.name} that fits`,
      new Promise((resolve) => {
        const look = (): void => {
          const state = this.probes.state(pod.workload.uid);
          if (state !== undefined && fits(state)) resolve(state);
        };
        this.#wake = look;
        look();
      }),
    );
  }

  close(): void {
    this.probes.close();
    this.earlier.close();
  }
}

describe.skipIf(skipKernelTests)(`self-probes${skipReason}`, () => {
  let rig: DataPlaneRig;
  let pod: RigPod;
  let watched: Watched;

  beforeEach(async () => {
    rig = await DataPlaneRig.open();
    pod = await rig.addPod('web');
    watched = new Watched(pod.node);
  });

  afterEach(async () => {
    watched.close();
    await rig[Symbol.asyncDispose]();
  });

  function capture(): void {
    watched.capturer.capture(rig.nodePod(pod), pod.netnsPath);
  }

  const isCaptured = ({ state }: ProofState): boolean => state === 'captured';

  it('prove a pod right after its capture', async () => {
    capture();
    expect(watched.probes.state(pod.workload.uid)?.state).toBe('pending');
    expect(await watched.until(pod, isCaptured)).toMatchObject({ reason: 'Captured', message: '' });
    expect(watched.recaptured).toEqual([]);
  });

  it('tell of hooks that somebody detached, and attach them again', async () => {
    capture();
    await watched.until(pod, isCaptured);
    expect(detachLinks('cgroup')).toBeGreaterThan(8);
    const state = await watched.until(pod, ({ state }) => state !== 'captured');
    expect(state).toMatchObject({ state: 'bypassed', reason: 'HookDetached' });
    await watched.until(pod, isCaptured);
    expect(pod.node.redirect.detachedHooks()).toEqual([]);
    expect(watched.recaptured).toEqual([]);
  });

  it('tell of steering that somebody detached, and capture the pod anew', async () => {
    capture();
    await watched.until(pod, isCaptured);
    expect(detachLinks('netns')).toBeGreaterThan(0);
    const state = await watched.until(pod, ({ state }) => state !== 'captured');
    expect(state).toMatchObject({ state: 'bypassed', reason: 'SteeringDetached' });
    await watched.until(pod, isCaptured);
    expect(watched.recaptured).toEqual(['SteeringDetached']);
  });

  it('tell of listeners that are gone, and open new ones', async () => {
    capture();
    await watched.until(pod, isCaptured);
    pod.node.worker.post({ kind: 'pod-removed', uid: pod.workload.uid, how: 'now' });
    const state = await watched.until(pod, ({ state }) => state !== 'captured');
    expect(state).toMatchObject({ state: 'failed', reason: 'NoListener' });
    await watched.until(pod, isCaptured);
    expect(watched.recaptured).toEqual(['NoListener']);
  });

  it('count the connections that were open before', async () => {
    const peer = await rig.addPod('peer', { enrolled: false });
    pod.node.redirect.detach(pod.workload.uid);
    const listener = withNetns(peer.netnsPath, () => listenTcp({ address: peer.ipv4, port: 8080 }));
    const server = createServer((socket) => socket.resume()).listen({ fd: listener });
    await once(server, 'listening');
    const fd = withNetns(pod.netnsPath, () => createTcpSocket(AF_INET));
    startConnect(fd, { address: peer.ipv4, port: 8080 });
    const socket = new Socket({ fd });
    await once(server, 'connection');
    capture();
    expect(watched.earlier.count(pod.workload.uid)).toBe(1);
    expect((await watched.until(pod, isCaptured)).state).toBe('captured');
    expect(watched.earlier.count(pod.workload.uid)).toBe(1);
    socket.destroy();
    server.close();
  });
});
