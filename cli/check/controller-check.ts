// Whether the controller runs with all its replicas, in the version of this command.

import { enrolmentLabel } from '../../controller/translate/letting-go.ts';
import type { ClusterFacts, PodFact, WorkloadFact } from './cluster-facts.ts';
import { type CheckResult, counted, type Finding } from './finding.ts';
import { isReady, podProblem } from './pod-problem.ts';

export function checkController(facts: ClusterFacts): CheckResult | undefined {
  const { controller, namespace, page, version, unreadable } = facts;
  const group = 'Controller';
  if (controller === undefined) {
    if (unreadable.some(({ right }) => right.includes('deployments'))) return undefined;
    return {
      group,
      summary: 'not installed',
      findings: [
        {
          level: 'error',
          where: `deployment ${namespace}/weft-controller`,
          what: 'is missing',
          why: 'nothing configures the mesh, and nobody signs its certificates',
          fix: `weft install --image IMAGE --namespace ${namespace} | kubectl apply --server-side -f -`,
        },
      ],
    };
  }
  const wanted = controller.spec.replicas ?? 1;
  const findings = [...availability(controller, facts), ...pageFindings(facts), ...enrolment(facts)];
  const running = 'missing' in page ? '' : `, version ${page.version}`;
  if (!('missing' in page) && page.version !== version) {
    findings.push({
      level: 'warning',
      where: `deployment ${namespace}/weft-controller`,
      what: `is of version ${page.version}, this command of ${version}`,
      why: 'the two may not mean the same by the same words',
      fix: `weft install --image IMAGE:${version} | kubectl apply --server-side -f -, or use weft ${page.version}`,
    });
  }
  return { group, summary: `${counted(wanted, 'replica')}${running}`, findings };
}

function availability(controller: WorkloadFact, { namespace, pods = [] }: ClusterFacts): Finding[] {
  const { spec, status, metadata } = controller;
  const wanted = spec.replicas ?? 1;
  const available = status?.availableReplicas ?? 0;
  const isCurrent = (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  const updated = isCurrent ? (status?.updatedReplicas ?? 0) : 0;
  if (available >= wanted && updated >= wanted) return [];
  const why =
    available === 0
      ? 'no configuration and no certificate is served'
      : 'with fewer replicas than asked for, the loss of one may be an outage';
  const own = pods.filter((pod) => isControllerPod(pod, namespace) && !isReady(pod));
  const fix = `kubectl -n ${namespace} describe pods -l app.kubernetes.io/name=weft-controller`;
  return [
    {
      level: 'error',
      where: `deployment ${namespace}/weft-controller`,
      what: `${available} of ${wanted} replicas are available, ${updated} of this version${problemsOf(own)}`,
      why,
      fix,
    },
  ];
}

function problemsOf(pods: readonly PodFact[]): string {
  return pods.length === 0
    ? ''
    : `; ${pods.map((pod) => `${pod.metadata.name}: ${podProblem(pod)}`).join('; ')}`;
}

/** A controller that is there, but whose page could not be read. */
function pageFindings({ page, namespace, controller }: ClusterFacts): readonly Finding[] {
  if (!('missing' in page) || (controller?.status?.availableReplicas ?? 0) === 0) return [];
  return [
    {
      level: 'error',
      where: `deployment ${namespace}/weft-controller`,
      what: `its page about the nodes could not be read: ${page.missing}`,
      why: 'nothing is known of kernels, clocks, certificates and captured pods',
      fix: `kubectl -n ${namespace} port-forward deployment/weft-controller 15014, then: curl 127.0.0.1:15014/debug/nodes`,
    },
  ];
}

/** The mark of an uninstallation that did not come to its end. */
function enrolment({ namespaces = [], namespace }: ClusterFacts): readonly Finding[] {
  const own = namespaces.find(({ metadata }) => metadata.name === namespace);
  if (own?.metadata.labels?.[enrolmentLabel] !== 'off') return [];
  return [
    {
      level: 'error',
      where: `namespace ${namespace}`,
      what: `has the label ${enrolmentLabel}=off`,
      why: 'no pod is in the mesh, whatever its labels say: weft uninstall was begun and not finished',
      fix: `weft uninstall --namespace ${namespace}, or kubectl label namespace ${namespace} ${enrolmentLabel}-`,
    },
  ];
}

export function isControllerPod({ metadata }: PodFact, namespace: string): boolean {
  return (
    metadata.namespace === namespace && metadata.labels?.['app.kubernetes.io/name'] === 'weft-controller'
  );
}
