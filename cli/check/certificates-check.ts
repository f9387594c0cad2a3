// How long the mesh's roots and the certificates on the nodes are still good. A certificate is renewed at half of its life,
// so one in its last quarter says that renewing fails.

import { X509Certificate } from 'node:crypto';
import type { ClusterFacts, WorkloadFact } from './cluster-facts.ts';
import { type CheckResult, counted, duration, type Finding } from './finding.ts';

const dayMs = 86_400_000;
/** A rotation takes as long as the longest certificate lives, and must be done before. */
const rootWarningMs = 60 * dayMs;
const rootErrorMs = 14 * dayMs;
/** Of the controller, where it is not told another (controller/config.ts). */
const defaultLifeMs = dayMs;

export function checkCertificates(facts: ClusterFacts): CheckResult | undefined {
  const { roots, namespace, now, page, unreadable, controller } = facts;
  if (controller === undefined || unreadable.some(({ right }) => right.includes('weft-roots')))
    return undefined;
  const certificates = roots === undefined ? [] : certificatesOf(roots);
  const findings = [
    ...certificates.flatMap((certificate) => rootFindings(certificate, { now, namespace })),
    ...leafFindings(facts),
  ];
  if (certificates.length === 0) {
    findings.push({
      level: 'error',
      where: `configmap ${namespace}/weft-roots`,
      what: roots === undefined ? 'is missing' : 'holds no certificate',
      why: 'node tunnels cannot verify the controller, and do not start without it',
      fix: `kubectl -n ${namespace} logs deployment/weft-controller --tail=20: its leader writes it`,
    });
  }
  const leaves =
    'missing' in page ? [] : page.nodes.flatMap(({ certificateExpiry }) => certificateExpiry ?? []);
  const first = certificates.map(({ validToDate }) => validToDate.toISOString().slice(0, 10)).sort()[0];
  const until = first === undefined ? '' : ` until ${first}`;
  const onNodes =
    leaves.length === 0 ? '' : `, first on a node ends in ${duration(Math.min(...leaves) - now)}`;
  return {
    group: 'Certificates',
    summary: `${counted(certificates.length, 'root')}${until}${onNodes}`,
    findings,
  };
}

/** What cannot be read is left out: a list of none is a finding. */
function certificatesOf(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.flatMap((block) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      return [];
    }
  });
}

function rootFindings(
  { validToDate, subject }: X509Certificate,
  { now, namespace }: { readonly now: number; readonly namespace: string },
): readonly Finding[] {
  const leftMs = validToDate.getTime() - now;
  if (leftMs > rootWarningMs) return [];
  return [
    {
      level: leftMs > rootErrorMs ? 'warning' : 'error',
      where: `root ${subject.replaceAll('\n', ', ')}`,
      what: leftMs > 0 ? `ends in ${duration(leftMs)}` : `ended ${duration(leftMs)} ago`,
      why: 'what it signed is refused from then on; a rotation must be finished before',
      fix: `kubectl -n ${namespace} exec deployment/weft-controller -- weft ca rotate --state /var/lib/weft/controller`,
    },
  ];
}

function leafFindings({ page, controller, namespace }: ClusterFacts): readonly Finding[] {
  if ('missing' in page) return [];
  const lifeMs = certificateLifeMs(controller);
  return page.nodes.flatMap(({ node, certificateExpiry, state }) => {
    // What a silent node had is not what it has.
    if (certificateExpiry === undefined || state === 'silent') return [];
    const leftMs = certificateExpiry - page.now;
    if (leftMs > lifeMs / 4) return [];
    return [
      {
        level: 'error',
        where: `node ${node}`,
        what:
          leftMs > 0
            ? `a certificate ends in ${duration(leftMs)}`
            : `a certificate ended ${duration(leftMs)} ago`,
        why: 'it should have been renewed at half of its life; pods of that identity are refused when it ends',
        fix: `kubectl -n ${namespace} logs deployment/weft-controller --tail=50, and those of the node's weft-ztunnel pod`,
      },
    ];
  });
}

function certificateLifeMs(controller: WorkloadFact | undefined): number {
  const args = controller?.spec.template.spec.containers[0]?.args ?? [];
  const given = args.find((argument) => argument.startsWith('--certificate-life='));
  const seconds = Number(given?.slice('--certificate-life='.length));
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : defaultLifeMs;
}
