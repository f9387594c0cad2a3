// Changes the manifests of the programs to what was asked for. With nothing asked for they stay as the files are, so
// files and command say the same. Every change is made to the document, which keeps comments and order.

import type { Document } from 'yaml';
import type { InstallSettings } from './settings.ts';

const baseNamespace = 'weft-system';
const defaultCaSecret = 'cacerts';
const container = ['spec', 'template', 'spec', 'containers', 0] as const;

/** Moves a document into the namespace of the installation. */
export function moveNamespace(document: Document, namespace: string): void {
  if (namespace === baseNamespace) return;
  if (document.get('kind') === 'Namespace') document.setIn(['metadata', 'name'], namespace);
  else if (document.hasIn(['metadata', 'namespace'])) document.setIn(['metadata', 'namespace'], namespace);
  if (document.hasIn(['subjects', 0, 'namespace'])) document.setIn(['subjects', 0, 'namespace'], namespace);
}

export function customiseDeployment(deployment: Document, settings: InstallSettings): void {
  const set = (path: readonly (string | number)[], value: unknown): void => {
    if (deployment.getIn(path) !== value) deployment.setIn(path, value);
  };
  set([...container, 'image'], settings.image);
  set([...container, 'imagePullPolicy'], settings['pull-policy']);
  set([...container, 'resources', 'requests', 'cpu'], settings['cpu-request']);
  set([...container, 'resources', 'requests', 'memory'], settings['memory-request']);
  set([...container, 'resources', 'limits', 'memory'], settings['memory-limit']);
  set(['spec', 'replicas'], settings.replicas ?? 1);
  setArguments(deployment, settings);
  if ((settings.replicas ?? 1) > 1) spread(deployment);
}

export function customiseDaemonSet(daemonSet: Document, settings: InstallSettings): void {
  const { namespace, image, 'pull-policy': pullPolicy } = settings;
  const set = (path: readonly (string | number)[], value: unknown): void => {
    if (daemonSet.getIn(path) !== value) daemonSet.setIn(path, value);
  };
  set([...container, 'image'], image);
  set([...container, 'imagePullPolicy'], pullPolicy);
  for (const name of ['cni-conf', 'cni-bin'] as const)
    set(hostPathOf(daemonSet, name), settings[`${name}-dir`]);
  replaceArguments(daemonSet, {
    controller: `weft-controller.${namespace}.svc:15012`,
    'log-format': settings['log-format'],
    'log-level': settings['log-level'],
    'cluster-id': settings['cluster-id'],
    'certificate-life': settings['certificate-life'],
  });
}

/** Where the path of a volume of the node stands. */
function hostPathOf(daemonSet: Document, volume: string): readonly (string | number)[] {
  const { volumes } = (daemonSet.toJS() as PodVolumes).spec.template.spec;
  const index = volumes.findIndex(({ name }) => name === volume);
  return ['spec', 'template', 'spec', 'volumes', index, 'hostPath', 'path'];
}

interface PodVolumes {
  readonly spec: { readonly template: { readonly spec: { readonly volumes: readonly { name: string }[] } } };
}

/** The one Secret beside its own that the controller may read. */
export function customiseRole(role: Document, { 'ca-secret': name }: InstallSettings): void {
  if (name === defaultCaSecret) return;
  const { rules } = role.toJS() as { rules: readonly { resourceNames?: readonly string[] }[] };
  const index = rules.findIndex(({ resourceNames }) => resourceNames?.includes(defaultCaSecret));
  role.setIn(['rules', index, 'resourceNames'], role.createNode([name], { flow: true }));
}

/** The port that a scraper comes to, which otherwise only the kubelet uses. */
export function exposeMetrics(service: Document): void {
  service.addIn(
    ['spec', 'ports'],
    service.createNode({ name: 'http-admin', port: 15014, targetPort: 'http-admin', protocol: 'TCP' }),
  );
}

function setArguments(deployment: Document, settings: InstallSettings): void {
  const { namespace, listen } = settings;
  const host = listen.includes(':') ? `[${listen}]` : listen;
  const given: Record<string, string | number | undefined> = {
    namespace,
    address: `${host}:15012`,
    admin: `${host}:15014`,
    'log-format': settings['log-format'],
    'log-level': settings['log-level'],
    'cluster-id': settings['cluster-id'],
    'trust-domain': settings['trust-domain'],
    'waypoint-image': settings.image,
    'certificate-life': settings['certificate-life'],
    ca: settings['ca-secret'] === defaultCaSecret ? undefined : settings['ca-secret'],
  };
  const names = [...settings['server-name']];
  // By this name nodes dial it; the one in the default namespace is known to the controller already.
  if (namespace !== baseNamespace) names.unshift(`weft-controller.${namespace}.svc`);
  replaceArguments(
    deployment,
    given,
    names.map((name) => `--server-name=${name}`),
  );
}

/** Values by flag, where the container has it in its place, else at the end; then `further` ones. */
function replaceArguments(
  document: Document,
  values: Readonly<Record<string, string | number | undefined>>,
  further: readonly string[] = [],
): void {
  const given = { ...values };
  const before = (document.toJS() as ProgramArguments).spec.template.spec.containers[0].args;
  const args = before.map((argument) => {
    const name = /^--([a-z-]+)=/.exec(argument)?.[1] ?? '';
    const value = given[name];
    delete given[name];
    return value === undefined ? argument : `--${name}=${value}`;
  });
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined) args.push(`--${name}=${value}`);
  }
  args.push(...further);
  if (args.join('\n') !== before.join('\n'))
    document.setIn([...container, 'args'], document.createNode(args));
}

interface ProgramArguments {
  readonly spec: {
    readonly template: {
      readonly spec: { readonly containers: readonly [{ readonly args: readonly string[] }] };
    };
  };
}

/**
 * Two replicas on one node would end together, so that is never done. An update then needs the place of an old replica
 * for the new one, or it would wait for ever in a cluster with as many nodes as replicas.
 */
function spread(deployment: Document): void {
  const labelSelector = { matchLabels: { 'app.kubernetes.io/name': 'weft-controller' } };
  const affinity = {
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { topologyKey: 'kubernetes.io/hostname', labelSelector },
      ],
      preferredDuringSchedulingIgnoredDuringExecution: [
        { weight: 100, podAffinityTerm: { topologyKey: 'topology.kubernetes.io/zone', labelSelector } },
      ],
    },
  };
  deployment.setIn(
    ['spec', 'template', 'spec', 'affinity'],
    deployment.createNode(affinity, { aliasDuplicateObjects: false }),
  );
  deployment.setIn(['spec', 'strategy', 'rollingUpdate', 'maxSurge'], 0);
  deployment.setIn(['spec', 'strategy', 'rollingUpdate', 'maxUnavailable'], 1);
}
