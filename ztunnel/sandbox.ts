// A pod's sandbox as the CNI step saw it when it was made: the network namespace, before any process of the pod runs in
// it, and the addresses that the CNI plugins before ours gave it.

import { closeSync, openSync } from 'node:fs';
import { NetnsError } from '../mesh/io/netns.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import { type LocatedNetns, namespaceAt } from './pod-netns.ts';

export interface Sandbox {
  /** The container runtime's name of it, CNI_CONTAINERID. */
  readonly id: string;
  readonly netns: LocatedNetns;
  readonly addresses: readonly IpAddress[];
}

/**
 * The namespace at `path`, held open: it is this one until close(), whatever becomes of the path.
 * @param options.proc default `/proc`; must be that of the node (hostPID)
 * @throws NetnsError not-found, not-permitted (it is the node's own)
 */
export function openSandboxNetns(
  path: string,
  { proc = '/proc' }: { readonly proc?: string } = {},
): LocatedNetns {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw new NetnsError(
      'not-found',
      `Could not open the sandbox's network namespace "${path}": it is gone`,
      {
        cause,
      },
    );
  }
  const held = `/proc/self/fd/${fd}`;
  let open = true;
  const close = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  if (isSameNetns(held, `${proc}/1/ns/net`)) {
    close();
    throw new NetnsError(
      'not-permitted',
      'The sandbox is on the network of its node, which is never captured',
    );
  }
  return { path: held, isCurrent: () => true, close };
}

/** False also where one of them can not be seen. */
export function isSameNetns(a: string, b: string): boolean {
  try {
    const namespace = namespaceAt(a);
    return namespace !== undefined && namespace === namespaceAt(b);
  } catch {
    return false;
  }
}
