// What the CNI plugin (cni/shim.c) hands over, read strictly: who the pod is, where its sandbox is, and which addresses the
// plugins before ours gave it. CNI specification 1.1.0; of the configuration only prevResult is looked at. What only capture
// needs may be missing: that is no reason to keep a pod from its start that is not in the mesh.

import { z } from 'zod/mini';
import { type IpAddress, parseIpAddress } from '../mesh/model/ip-address.ts';
import { CniError } from './cni-error.ts';

export interface CniPod {
  readonly namespace: string;
  readonly name: string;
  /** As the kubelet has it; of a static pod no UID of the API. Absent with a runtime that does not tell (containerd 1.5). */
  readonly uid: string | undefined;
}

export type CniRequest =
  | {
      readonly command: 'ADD';
      readonly sandboxId: string;
      readonly pod: CniPod;
      /** Leads to the sandbox's network namespace while the plugin waits for its answer. */
      readonly netnsPath: string | undefined;
      readonly addresses: readonly IpAddress[];
    }
  | { readonly command: 'CHECK'; readonly sandboxId: string; readonly pod: CniPod }
  | { readonly command: 'DEL'; readonly sandboxId: string };

// RFC 1123; names of pods are subdomains, and UIDs of static pods are plain hexadecimal.
const label = z.string().check(z.regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/));
const podName = z.string().check(z.regex(/^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/));
const podUid = z.string().check(z.regex(/^[0-9A-Za-z][-0-9A-Za-z]{0,127}$/));

const variables = z.object({
  CNI_COMMAND: z.enum(['ADD', 'CHECK', 'DEL']),
  CNI_CONTAINERID: z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$/)),
  CNI_ARGS: z.optional(z.string().check(z.maxLength(16_384))),
  WEFT_NETNS: z.optional(z.string().check(z.regex(/^\/proc\/\d{1,10}\/fd\/\d{1,10}$/))),
});

const argumentsOfKubernetes = z.object({
  K8S_POD_NAMESPACE: label,
  K8S_POD_NAME: podName,
  K8S_POD_UID: z.optional(podUid),
});

const configuration = z.object({
  prevResult: z.object({
    interfaces: z.optional(z.array(z.object({ sandbox: z.optional(z.string()) })).check(z.maxLength(64))),
    ips: z.optional(
      z.array(z.object({ address: z.string(), interface: z.optional(z.int()) })).check(z.maxLength(64)),
    ),
  }),
});

/** @throws CniError undecodable-request, invalid-environment, invalid-configuration */
export function readCniRequest(message: Buffer): CniRequest {
  const end = message.indexOf('\0\0');
  if (end < 0) throw new CniError('undecodable-request', 'the request ends before its configuration');
  const environment = check(variables, pairs(utf8(message.subarray(0, end)), '\0'), 'environment');
  const { CNI_COMMAND: command, CNI_CONTAINERID: sandboxId } = environment;
  if (command === 'DEL') return { command, sandboxId };
  const args = check(argumentsOfKubernetes, pairs(environment.CNI_ARGS ?? '', ';'), 'environment');
  const pod = { namespace: args.K8S_POD_NAMESPACE, name: args.K8S_POD_NAME, uid: args.K8S_POD_UID };
  if (command === 'CHECK') return { command, sandboxId, pod };
  const addresses = addressesIn(parse(utf8(message.subarray(end + 2))));
  return { command, sandboxId, pod, netnsPath: environment.WEFT_NETNS, addresses };
}

function addressesIn(config: unknown): readonly IpAddress[] {
  const { interfaces, ips = [] } = check(configuration, config, 'configuration').prevResult;
  const own = ips.filter((ip) => ip.interface === undefined || Boolean(interfaces?.[ip.interface]?.sandbox));
  const addresses = own.map(({ address }) => {
    const ip = parseIpAddress(address.replace(/\/\d{1,3}$/, ''));
    if (ip === undefined)
      throw new CniError('invalid-configuration', `prevResult has an address that is none: "${address}"`);
    return ip;
  });
  return [...new Set(addresses)];
}

function check<T>(schema: z.ZodMiniType<T>, value: unknown, what: 'environment' | 'configuration'): T {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const problems = error.issues.slice(0, 5).map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new CniError(`invalid-${what}`, `the CNI ${what} is not valid: ${problems.join('; ')}`);
}

/** Of `KEY=VALUE` texts; the first of several with one key counts, as with getenv(). */
function pairs(text: string, separator: string): Readonly<Record<string, string>> {
  const entries = text.split(separator).flatMap((pair) => {
    const at = pair.indexOf('=');
    return at < 0 ? [] : [[pair.slice(0, at), pair.slice(at + 1)] as const];
  });
  return Object.fromEntries(entries.toReversed());
}

function utf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CniError('undecodable-request', 'the request is not UTF-8', { cause });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new CniError('undecodable-request', 'the configuration is not JSON', { cause });
  }
}
