// One self-probe: a connection from a pod's own network namespace to the reserved destination, subject to the redirect as
// the pod's own are. With TCP_FASTOPEN_CONNECT (kernel 4.11) connect() runs the hook and routes, but sends nothing before
// the first write; that happens only once the kernel says that the hook has led the socket to the tunnel. So no packet to
// the reserved destination ever leaves, whatever is broken.

import { randomBytes } from 'node:crypto';
import { Socket } from 'node:net';
import type { FlowMaps } from '../bpf/flow-maps.ts';
import * as libc from '../mesh/io/libc.ts';
import { withNetns } from '../mesh/io/netns.ts';
import { Slab } from '../mesh/io/slab.ts';
import { createTcpSocket, deferConnect, startConnect } from '../mesh/io/socket.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import {
  type IpFamily,
  maxAnswerBytes,
  nonceBytes,
  parseProof,
  type SelfProof,
  selfProbeDestination,
} from './self-probe-proof.ts';

export type ProbeFailure =
  /** The hook refused: the kernel has no address of the pod for this family, or no memory. */
  | 'Refused'
  /** Led to the tunnel's port, where nobody listens. */
  | 'NoListener'
  /** Led to somebody who accepts and says nothing in time. */
  | 'NoAnswer'
  /** Led to somebody else. */
  | 'WrongAnswer'
  | 'NamespaceGone';

export type ProbeResult =
  | { readonly kind: 'proved'; readonly proof: SelfProof }
  /** The hook did not act on the socket. */
  | { readonly kind: 'bypassed' }
  | { readonly kind: 'failed'; readonly reason: ProbeFailure; readonly message: string }
  /** This pod's settings leave no way to try without the risk of a packet. */
  | { readonly kind: 'impossible'; readonly message: string };

export interface ProbeTarget {
  /** The pod's network namespace. */
  readonly netnsPath: string;
  readonly podUid: string;
  readonly family: IpFamily;
}

export interface ProbeContext {
  readonly flowMaps: Pick<FlowMaps, 'redirectedFrom'>;
  readonly secret: string;
  readonly clock: Clock;
  /** Until the answer is there, ms. */
  readonly timeoutMs: number;
}

const nonceSlab = new Slab(nonceBytes);

/** Never rejects. What concerns the pod's namespace is done before it returns. */
export function probeOutbound(target: ProbeTarget, context: ProbeContext): Promise<ProbeResult> {
  const nonce = randomBytes(nonceBytes);
  let begun: number | ProbeResult;
  try {
    begun = withNetns(target.netnsPath, () => begin(target, context, nonce));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return Promise.resolve({ kind: 'failed', reason: 'NamespaceGone', message });
  }
  return typeof begun === 'number' ? answerOf(begun, { target, context, nonce }) : Promise.resolve(begun);
}

/** A socket on its way to the tunnel, or what stood against it. */
function begin({ family }: ProbeTarget, { flowMaps }: ProbeContext, nonce: Uint8Array): number | ProbeResult {
  const destination = selfProbeDestination(family);
  const fd = createTcpSocket(family === 'ipv4' ? libc.AF_INET : libc.AF_INET6);
  let keep = false;
  try {
    if (!deferConnect(fd)) {
      const message = 'net.ipv4.tcp_fastopen of the pod has no client bit (1), which a proof takes';
      return { kind: 'impossible', message };
    }
    const code = startConnect(fd, destination);
    const asked = flowMaps.redirectedFrom(fd);
    if (asked?.address !== destination.address || asked.port !== destination.port) {
      return code === libc.EPERM
        ? refused(`a program of the kernel refuses the pod's ${family} connections`)
        : { kind: 'bypassed' };
    }
    if (code !== 0) return refused(`connecting gave ${libc.describeErrno(code)}`);
    nonceSlab.bytes.set(nonce);
    if (libc.send(fd, nonceSlab.address, nonceBytes, libc.MSG_NOSIGNAL) < 0) return ended(libc.errno());
    keep = true;
    return fd;
  } finally {
    if (!keep) libc.close(fd);
  }
}

function answerOf(
  fd: number,
  { target, context, nonce }: { target: ProbeTarget; context: ProbeContext; nonce: Uint8Array },
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = new Socket({ fd, readable: true, writable: true });
    let text = '';
    let failure: ProbeResult | undefined;
    const timer = context.clock.after(context.timeoutMs, () => {
      failure = {
        kind: 'failed',
        reason: 'NoAnswer',
        message: `No data worker answered within ${context.timeoutMs} ms`,
      };
      socket.destroy();
    });
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > maxAnswerBytes) socket.destroy();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      failure = ended(-(error.errno ?? 0));
    });
    socket.once('close', () => {
      timer.cancel();
      resolve(failure ?? judge(parseProof(context.secret, nonce, text), target));
    });
  });
}

function judge(proof: SelfProof | undefined, { podUid }: ProbeTarget): ProbeResult {
  if (proof?.podUid === podUid) return { kind: 'proved', proof };
  const who = proof === undefined ? 'not this node tunnel' : `the tunnel's listener of pod "${proof.podUid}"`;
  return { kind: 'failed', reason: 'WrongAnswer', message: `The pod's connections are led to ${who}` };
}

function refused(why: string): ProbeResult {
  return { kind: 'failed', reason: 'Refused', message: `The pod's connections are refused: ${why}` };
}

function ended(errno: number): ProbeResult {
  return {
    kind: 'failed',
    reason: errno === libc.ECONNREFUSED ? 'NoListener' : 'NoAnswer',
    message: `The pod's connections are led to the tunnel's port and end there: ${libc.describeErrno(errno)}`,
  };
}
