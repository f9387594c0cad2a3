// CNIs that handle connections of pods before or beside the mesh's hooks, as far as their own settings say so. Whether a
// pod is captured in fact is proven on its node (captures-check.ts).

import type { ClusterFacts } from './cluster-facts.ts';
import type { CheckResult, Finding } from './finding.ts';

export function checkCni(facts: ClusterFacts): CheckResult | undefined {
  const found = [...cilium(facts), ...calico(facts)];
  if (found.length === 0) return undefined;
  return {
    group: 'CNI',
    summary: found.map(({ name }) => name).join(', '),
    findings: found.flatMap(({ findings }) => findings),
  };
}

interface Found {
  readonly name: string;
  readonly findings: readonly Finding[];
}

const translatesFirst =
  'it replaces the address of a Service by that of a pod before the mesh sees it: policies, routes and waypoints of the Service are passed by';

function cilium({ ciliumConfig }: ClusterFacts): readonly Found[] {
  if (ciliumConfig === undefined) return [];
  const findings: Finding[] = [];
  const where = 'configmap kube-system/cilium-config';
  const replaces = ['true', 'strict'].includes(ciliumConfig['kube-proxy-replacement'] ?? 'false');
  const balancesSockets = replaces || ciliumConfig['bpf-lb-sock'] === 'true';
  if (balancesSockets && ciliumConfig['bpf-lb-sock-hostns-only'] !== 'true') {
    findings.push({
      level: 'error',
      where,
      what: 'Cilium balances Services at the sockets of pods',
      why: translatesFirst,
      fix: 'helm upgrade cilium cilium/cilium -n kube-system --reuse-values --set socketLB.hostNamespaceOnly=true',
    });
  }
  // Cilium's own default.
  if ((ciliumConfig['cni-exclusive'] ?? 'true') === 'true') {
    findings.push({
      level: 'warning',
      where,
      what: 'Cilium takes the CNI configuration for itself',
      why: 'it writes over the CNI step of the mesh, which is put back: pods that start in between are captured late',
      fix: 'helm upgrade cilium cilium/cilium -n kube-system --reuse-values --set cni.exclusive=false',
    });
  }
  return [{ name: 'Cilium', findings }];
}

function calico({ felix }: ClusterFacts): readonly Found[] {
  if (felix?.spec.bpfEnabled !== true) return felix === undefined ? [] : [{ name: 'Calico', findings: [] }];
  const { bpfConnectTimeLoadBalancing: balancing = 'TCP' } = felix.spec;
  if (balancing === 'Disabled') return [{ name: 'Calico', findings: [] }];
  const finding: Finding = {
    level: 'error',
    where: 'felixconfiguration default',
    what: `Calico balances Services at the sockets of pods (bpfConnectTimeLoadBalancing: ${balancing})`,
    why: translatesFirst,
    fix: `kubectl patch felixconfiguration default --type=merge -p '{"spec":{"bpfConnectTimeLoadBalancing":"Disabled","bpfHostNetworkedNATWithoutCTLB":"Enabled"}}'`,
  };
  return [{ name: 'Calico', findings: [finding] }];
}
