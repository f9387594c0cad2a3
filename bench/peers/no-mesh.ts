// Plain TCP between the two pods, through the same links.

import { directTargets, type Peer } from './peer.ts';

export const noMesh: Peer = {
  name: 'none',
  title: 'no mesh',
  descriptorsPerConnection: 1,
  start: (site) =>
    Promise.resolve({
      targets: directTargets(site),
      proxies: [],
      check: () => Promise.resolve(),
      stop: () => Promise.resolve(),
    }),
};
