// Turns a ztunnel's configuration dump into a short report for people. Reads only what it shows; fields that a ztunnel
// of another version lacks are left out.

import { askAdmin } from './admin-client.ts';
import { CliError } from './cli-error.ts';
import type { CliOutput } from './run-cli.ts';

interface Certificate {
  readonly identity: string;
  readonly state: string;
  readonly certChain?: readonly { readonly serialNumber: string; readonly expirationTime: string }[];
}

interface PodState {
  readonly state: string;
  /** Why it is not captured. */
  readonly reason?: string;
  readonly info: { readonly name: string; readonly namespace: string };
  readonly connections?: { readonly inbound?: readonly unknown[]; readonly outbound?: readonly unknown[] };
}

interface ConfigDump {
  readonly certificates?: readonly Certificate[];
  readonly workloadState?: Readonly<Record<string, PodState>>;
  readonly workloads?: readonly unknown[];
  readonly services?: readonly unknown[];
  readonly policies?: readonly unknown[];
}

/** Prints the report; 0 when everything works, 1 when a pod is not captured or a certificate is missing. */
export async function showStatus(admin: string, output: CliOutput): Promise<number> {
  const dump = parseDump(await askAdmin(admin, '/config_dump'));
  const pods = Object.values(dump.workloadState ?? {});
  const certificates = dump.certificates ?? [];
  const counts = { workloads: dump.workloads, services: dump.services, policies: dump.policies };
  const known = Object.entries(counts).map(([name, list]) => `${list?.length ?? 0} ${name}`);
  output.out(`knows          ${known.join(', ')}\n`);
  output.out(`pods           ${pods.length === 0 ? 'none on this node is in the mesh' : ''}\n`);
  for (const pod of pods) output.out(`  ${describePod(pod)}\n`);
  output.out(`certificates   ${certificates.length === 0 ? 'none' : ''}\n`);
  for (const certificate of certificates) output.out(`  ${describeCertificate(certificate)}\n`);
  const well = pods.every(isUp) && certificates.every((certificate) => certificate.certChain?.length);
  return well ? 0 : 1;
}

function parseDump(body: string): ConfigDump {
  try {
    return JSON.parse(body) as ConfigDump;
  } catch (error) {
    throw new CliError('failed', 'The admin port answered with something that is no configuration dump', {
      cause: error,
    });
  }
}

function isUp(pod: PodState): boolean {
  return pod.state === 'Up';
}

function describePod(pod: PodState): string {
  const { inbound = [], outbound = [] } = pod.connections ?? {};
  const name = `${pod.info.namespace}/${pod.info.name}`;
  const why = pod.reason === undefined ? '' : `: ${pod.reason}`;
  if (!isUp(pod)) return `✗ ${name.padEnd(40)} ${pod.state}${why}`;
  return `✓ ${name.padEnd(40)} ${pod.state}, ${inbound.length} in, ${outbound.length} out`;
}

function describeCertificate({ identity, state, certChain }: Certificate): string {
  const leaf = certChain?.[0];
  const until = leaf === undefined ? state : `until ${leaf.expirationTime}`;
  return `${leaf === undefined ? '✗' : '✓'} ${identity.padEnd(40)} ${until}`;
}
