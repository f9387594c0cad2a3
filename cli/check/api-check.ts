// Whether the Kubernetes API answers, in a version that the mesh runs on, and lets this user read what the checks need.

import type { ClusterFacts } from './cluster-facts.ts';
import type { CheckResult, Finding } from './finding.ts';

/** First minor version of 1.x whose CRDs, token claims of nodes and native sidecars the mesh relies on. */
const oldestMinor = 30;

export function checkApi({ server, serverVersion, unreadable, namespace }: ClusterFacts): CheckResult {
  const findings: Finding[] = unreadable.map(({ right, isForbidden, message }) => ({
    level: 'error',
    where: right,
    what: isForbidden ? 'this user may not' : 'the API server did not answer',
    why: `what depends on it is not checked: ${message}`,
    fix: isForbidden
      ? `kubectl auth can-i ${right}; use the kubeconfig of a cluster administrator`
      : 'kubectl get --raw /readyz?verbose',
  }));
  const minor = minorOf(serverVersion);
  if (minor !== undefined && minor < oldestMinor) {
    findings.push({
      level: 'error',
      where: server,
      what: `Kubernetes ${serverVersion} is older than 1.${oldestMinor}`,
      why: 'node tunnels could not prove which node they are on',
      fix: `upgrade the cluster, then: weft check --namespace ${namespace}`,
    });
  }
  return { group: 'API server', summary: `${serverVersion ?? 'unknown version'} at ${server}`, findings };
}

/** Of `v1.34.4`. */
function minorOf(version: string | undefined): number | undefined {
  const [, minor] = /^v1\.(\d+)/.exec(version ?? '') ?? [];
  return minor === undefined ? undefined : Number(minor);
}
