// Turns a ztunnel's or a waypoint's configuration dump into a short report for people. Reads only what it shows; fields that a ztunnel
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
  /** Open connections that are older than the capture: the mesh leaves them alone. */
  readonly earlierConnections?: number;
  readonly info: { readonly name: string; readonly namespace: string };
  readonly connections?: { readonly inbound?: readonly unknown[]; readonly outbound?: readonly unknown[] };
}

interface WaypointState {
  readonly gateway: string;
  /** The controller knows no such Gateway. */
  readonly unknown?: boolean;
  readonly ready: boolean;
  /** What is missing to be ready. */
  readonly pending?: readonly string[];
  readonly load?: { readonly connections: number; readonly requests: number };
}

interface ConfigDump {
  /** Of a waypoint only. */
  readonly waypoint?: WaypointState;
  readonly routings?: readonly unknown[];
  readonly certificates?: readonly Certificate[];
  readonly workloadState?: Readonly<Record<string, PodState>>;
  readonly workloads?: readonly unknown[];
  readonly services?: readonly unknown[];
  readonly policies?: readonly unknown[];
}

/** Prints the report; 0 when everything works, 1 when a pod is not captured, a certificate is missing, or a waypoint not ready. */
export async function showStatus(admin: string, output: CliOutput): Promise<number> {
  const dump = parseDump(await askAdmin(admin, '/config_dump'));
  const pods = Object.values(dump.workloadState ?? {});
  const certificates = dump.certificates ?? [];
  const { workloads, services, policies, routings, waypoint } = dump;
  const counts = { workloads, services, policies, ...(waypoint && { routings }) };
  const known = Object.entries(counts).map(([name, list]) => `${list?.length ?? 0} ${name}`);
  output.out(`knows          ${known.join(', ')}\n`);
  if (waypoint === undefined) {
    output.out(`pods           ${pods.length === 0 ? 'none on this node is in the mesh' : ''}\n`);
    for (const pod of pods) output.out(`  ${describePod(pod)}\n`);
  } else {
    output.out(`waypoint\n  ${describeWaypoint(waypoint)}\n`);
  }
  output.out(`certificates   ${certificates.length === 0 ? 'none' : ''}\n`);
  for (const certificate of certificates) output.out(`  ${describeCertificate(certificate)}\n`);
  const well = pods.every(isUp) && certificates.every((certificate) => certificate.certChain?.length);
  return well && (waypoint === undefined || waypoint.ready) ? 0 : 1;
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

function describeWaypoint({ gateway, ready, unknown, pending = [], load }: WaypointState): string {
  if (unknown === true)
    return `✗ ${gateway.padEnd(40)} the controller knows no such Gateway of class weft-waypoint`;
  if (!ready) return `✗ ${gateway.padEnd(40)} not ready, waits for: ${pending.join(', ')}`;
  return `✓ ${gateway.padEnd(40)} ${load?.connections ?? 0} connections, ${load?.requests ?? 0} requests`;
}

function isUp(pod: PodState): boolean {
  return pod.state === 'Up';
}

function describePod(pod: PodState): string {
  const { inbound = [], outbound = [] } = pod.connections ?? {};
  const name = `${pod.info.namespace}/${pod.info.name}`;
  const why = pod.reason === undefined ? '' : `: ${pod.reason}`;
  if (!isUp(pod)) return `✗ ${name.padEnd(40)} ${pod.state}${why}`;
  const earlier = pod.earlierConnections ?? 0;
  const older = earlier === 0 ? '' : `, ${earlier} from before it was captured`;
  return `✓ ${name.padEnd(40)} ${pod.state}, ${inbound.length} in, ${outbound.length} out${older}`;
}

function describeCertificate({ identity, state, certChain }: Certificate): string {
  const leaf = certChain?.[0];
  const until = leaf === undefined ? state : `until ${leaf.expirationTime}`;
  return `${leaf === undefined ? '✗' : '✓'} ${identity.padEnd(40)} ${until}`;
}
