// After the label: the same request crosses the link inside the tunnel, and both ends know who the other is.

import { callApi, marker } from '../calls.ts';
import { claim } from '../demo-error.ts';
import type { Step } from '../step.ts';

const tunnelPort = 15008;

export const mutualTls: Step = {
  name: 'mutual TLS on the wire',
  async run(world) {
    const web = world.pod('web');
    const api = world.pod('api-2');
    const secret = marker();
    const log = world.tunnel(web.node).log;
    const from = log.mark();
    using capture = world.lab.capture();
    await callApi(web, { host: api.address.v4 }, `/${secret}`);
    const inTunnel = capture.drain().filter((frame) => usesPort(frame, tunnelPort)).length;
    claim(capture.framesWith(secret) === 0, 'The request can still be read on the link');
    claim(inTunnel > 0, `No packet of port ${tunnelPort} crossed the link`);
    const line = await log.waitFor(/dst\.identity="?spiffe:.*direction="?outbound/, { from });
    const peer = /dst\.identity="?([^"\s]+)/.exec(line)?.[1];
    const expected = `spiffe://cluster.local/ns/${api.namespace}/sa/${api.app}`;
    claim(peer === expected, `The peer was ${peer} instead of ${expected}`);
    return `${inTunnel} packets on the link, none holds the request; peer ${peer}`;
  },
};

/** Whether an Ethernet frame of IPv4 or IPv6 without extension headers is TCP from or to this port. */
export function usesPort(frame: Buffer, port: number): boolean {
  const etherType = frame.readUInt16BE(12);
  const start = etherType === 0x0800 ? 14 + (frame.readUInt8(14) & 15) * 4 : etherType === 0x86dd ? 54 : -1;
  if (start < 0 || frame.length < start + 4) return false;
  return frame.readUInt16BE(start) === port || frame.readUInt16BE(start + 2) === port;
}
