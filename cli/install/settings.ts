// What an installation can choose, from one table: `weft install --set key=value` and its flags are read by it. What
// the controller itself is told is checked by the controller's own rules, so a bad value fails here and not in a pod.

import { controllerSettings } from '../../controller/config.ts';
import {
  anyText,
  oneOf,
  optional,
  type Setting,
  type SettingValues,
  type ValueKind,
  wholeNumber,
  withDefault,
} from '../../mesh/runtime/settings.ts';

/** Stands for an image while none is published; the name can never lead anywhere (RFC 6761, section 6.4). */
export const placeholderImage = 'image.invalid/weft:0.1.0';

/** Flags of the controller that an installation may set; absent, the controller's default counts. */
const { 'trust-domain': trustDomain, 'cluster-id': clusterId, namespace, ...others } = controllerSettings;

export const installSettings = {
  namespace,
  image: withDefault(anyText('an image'), placeholderImage, {
    placeholder: 'image',
    description: 'image of Weft, with tag or digest',
  }),
  'trust-domain': unset(trustDomain),
  'cluster-id': unset(clusterId),
  'server-name': others['server-name'],
  'certificate-life': unset(others['certificate-life']),
  'ca-secret': withDefault(
    quantity(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'the name of a Secret'),
    'cacerts',
    {
      placeholder: 'name',
      description: "secret with a CA of your own, in the form of Istio's cacerts or of cert-manager",
    },
  ),
  'log-level': unset(others['log-level']),
  'log-format': withDefault(oneOf('json', 'text'), 'json', {
    placeholder: 'format',
    description: 'json or text',
  }),
  'pull-policy': withDefault(oneOf('IfNotPresent', 'Always', 'Never'), 'IfNotPresent', {
    placeholder: 'policy',
    description: 'when nodes pull the image: IfNotPresent, Always or Never',
  }),
  listen: withDefault(oneOf('0.0.0.0', '::'), '0.0.0.0', {
    placeholder: 'address',
    description: 'what the controller listens on in its pod; "::" in a cluster with IPv6',
  }),
  replicas: optional(wholeNumber(1, 9), {
    placeholder: 'count',
    description: 'of the controller; with more than one they are kept on different nodes',
  }),
  'cpu-request': withDefault(quantity(/^\d+m?$/, 'CPU like "100m" or "1"'), '100m', {
    placeholder: 'cpu',
    description: 'processor time kept for each replica',
  }),
  'memory-request': withDefault(bytes(), '256Mi', {
    placeholder: 'bytes',
    description: 'memory kept for each replica',
  }),
  'memory-limit': withDefault(bytes(), '1Gi', {
    placeholder: 'bytes',
    description: 'memory at which a replica is ended',
  }),
  'cni-conf-dir': withDefault(nodePath(), '/etc/cni/net.d', {
    placeholder: 'path',
    description: 'on nodes: where the container runtime has its CNI configuration',
  }),
  'cni-bin-dir': withDefault(nodePath(), '/opt/cni/bin', {
    placeholder: 'path',
    description: 'on nodes: where the container runtime has its CNI programs',
  }),
};

export type InstallSettings = SettingValues<typeof installSettings>;

/** The same setting without its default: what is not given is left to the controller. */
function unset<T>({ expects, read, placeholder, description }: Setting<T>): Setting<T | undefined> {
  return optional({ expects, read: (text) => read([text]) }, { placeholder, description });
}

function bytes(): ValueKind<string> {
  return quantity(/^[1-9]\d*(?:[KMG]i)?$/, 'bytes like "256Mi"');
}

function nodePath(): ValueKind<string> {
  return quantity(/^(\/[A-Za-z0-9_-][A-Za-z0-9._-]*){1,32}$/, 'an absolute path like "/opt/cni/bin"');
}

/** A Kubernetes quantity of the form `pattern`. */
function quantity(pattern: RegExp, expects: string): ValueKind<string> {
  return { expects, read: (text) => (pattern.test(text) ? text : undefined) };
}
