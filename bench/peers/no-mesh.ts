// Plain TCP between the two pods, through the same links.

import { directTargets, type Peer } from './peer.ts';

const direct: Pick<Peer, 'descriptorsPerConnection' | 'settleMs' | 'start'> = {
  descriptorsPerConnection: 1,
  settleMs: 0,
  start: (site) =>
    Promise.resolve({
      targets: directTargets(site),
      proxies: [],
      check: () => Promise.resolve(),
      stop: () => Promise.resolve(),
    }),
};

export const noMesh: Peer = { name: 'none', title: 'no mesh', place: 'far', ...direct };

export const noMeshNear: Peer = { name: 'none-near', title: 'no mesh, one node', place: 'near', ...direct };
