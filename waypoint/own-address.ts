// The address by which the mesh knows the pod that a waypoint runs in: where it listens if that is one address, else the
// first one of its network interfaces.

import { networkInterfaces } from 'node:os';
import { type IpAddress, isLoopback, parseIpAddress } from '../mesh/model/ip-address.ts';

/** A link-local address is known to nobody else. */
const linkLocal = /^(fe[89ab]|169\.254\.)/;

/** Of the calling thread's network namespace; undefined if it has loopback only. */
export function ownAddress(listening: IpAddress | undefined): IpAddress | undefined {
  if (listening !== undefined && listening !== '0.0.0.0' && listening !== '::') return listening;
  const addresses = Object.values(networkInterfaces())
    .flatMap((interfaces) => interfaces ?? [])
    .map(({ address }) => parseIpAddress(address.replace(/%.*$/, '')))
    .filter((address) => address !== undefined && !isLoopback(address) && !linkLocal.test(address));
  return addresses.find((address) => !address?.includes(':')) ?? addresses[0];
}
