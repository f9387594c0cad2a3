// What `weft uninstall` tells people: what it is going to remove, what stays, and what is left on nodes.

import { counted, someOf } from '../check/finding.ts';
import type { Installation } from './find-installation.ts';
import { nameOf } from './kube-objects.ts';

export interface PlanOptions {
  readonly crds?: true;
  readonly labels?: true;
  /** Names of objects with labels of the mesh. */
  readonly labelled: readonly string[];
  /** Names of pods whose readiness waits for the mesh. */
  readonly gated: readonly string[];
}

export function describePlan(
  installation: Installation,
  { crds, labels, labelled, gated }: PlanOptions,
): string {
  const { namespace, hasTunnels, own, waypoints, definitions, customObjects } = installation;
  const removed = [
    hasTunnels
      ? 'capture on every node: pinned programs and maps, the CNI step, sockets and files of the node tunnel'
      : `nothing on nodes: there is no DaemonSet ${namespace}/weft-ztunnel to clean them`,
    ...own.map(nameOf),
    ...(waypoints.length > 0 ? [`what runs waypoints: ${waypoints.map(nameOf).join(', ')}`] : []),
    `namespace ${namespace}, if it was made for the mesh and nothing of others is in it`,
    ...(crds === true
      ? [
          `${counted(definitions.length, 'definition')} of our kinds, with ${counted(customObjects, 'object')} of them`,
        ]
      : []),
    ...(labels === true ? [`labels of the mesh on ${someOf(labelled)}`] : []),
  ];
  const kept = [
    ...(crds !== true && definitions.length > 0
      ? [
          `${counted(definitions.length, 'definition')} with ${counted(customObjects, 'object')} of users (--crds removes them)`,
        ]
      : []),
    ...(labels !== true && labelled.length > 0
      ? [`labels of the mesh on ${someOf(labelled)} (--labels removes them)`]
      : []),
    'Gateways, routes and whatever else users made',
    ...helmReleases(installation),
  ];
  const warning =
    gated.length === 0
      ? ''
      : `attention: ${someOf(gated)} will not be ready: they have the readiness gate weft.dev/Captured\n`;
  return `will be removed:\n${lines(removed)}stays:\n${lines(kept)}${warning}`;
}

function helmReleases({ own }: Installation): readonly string[] {
  const releases = own.flatMap(({ metadata: { annotations = {} } }) => {
    const name = annotations['meta.helm.sh/release-name'];
    const namespace = annotations['meta.helm.sh/release-namespace'];
    return name === undefined
      ? []
      : [`the record of Helm release ${name} (helm uninstall ${name} -n ${namespace})`];
  });
  return [...new Set(releases)];
}

/** Empty if every node is clean. */
export function leftOnNodes(
  failed: readonly { readonly node: string; readonly reason: string }[],
  namespace: string,
): string {
  if (failed.length === 0) return '';
  const nodes = failed.map(
    ({ node, reason }) =>
      `${node} is not clean (${reason}). Left there: programs pinned in /sys/fs/bpf/weft, which refuse its captured pods; the CNI step in /etc/cni/net.d; /var/lib/weft`,
  );
  const advice = [
    `The DaemonSet ${namespace}/weft-ztunnel stays and cleans such a node as soon as it is back; then run weft uninstall again.`,
    'A node that never comes back: kubectl delete node NAME, then run weft uninstall again.',
  ];
  return `${lines(nodes)}${advice.join('\n')}\n`;
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `  ${text}\n`).join('');
}
