import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { controllerConfig } from '../../controller/config.ts';
import { runCli } from '../run-cli.ts';
import { ztunnelConfig } from '../../ztunnel/config.ts';
import { controllerFiles, readDefinitions, ztunnelFiles } from './manifest-files.ts';
import { installSettings } from './settings.ts';

const manifests = join(import.meta.dirname, '../../manifests');

async function install(...argv: string[]): Promise<{ status: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const output = { out: (text: string) => (out += text), err: (text: string) => (err += text) };
  return { status: await runCli(['install', ...argv], output), out, err };
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  // Read by path in the tests.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly [field: string]: any;
}

async function objects(...argv: string[]): Promise<readonly Manifest[]> {
  const { status, out } = await install(...argv);
  expect(status).toBe(0);
  return parseAllDocuments(out).map((document) => document.toJS() as Manifest);
}

async function object(kind: string, ...argv: string[]): Promise<Manifest> {
  const found = (await objects(...argv)).filter((candidate) => candidate.kind === kind);
  expect(found).toHaveLength(1);
  return found[0] as Manifest;
}

const podOf = (deployment: Manifest) => deployment['spec'].template.spec;
const argsOf = (deployment: Manifest): string[] => podOf(deployment).containers[0].args;

describe('weft install', () => {
  test('prints the files of manifests/ as they are when nothing is asked for', async () => {
    const names = [
      ...controllerFiles.map((name) => join('controller', name)),
      ...ztunnelFiles.map((name) => join('ztunnel', name)),
    ];
    const files = names.map((name) => readFileSync(join(manifests, name), 'utf8'));
    const { out, err } = await install();
    expect(out).toBe([...readDefinitions().values(), ...files].join('---\n'));
    expect(err).toContain('placeholder');
  });

  test('leaves no file of manifests/ out', () => {
    expect(readdirSync(join(manifests, 'controller')).sort()).toEqual([...controllerFiles].sort());
    expect(readdirSync(join(manifests, 'ztunnel')).sort()).toEqual([...ztunnelFiles].sort());
    expect(readdirSync(join(manifests, 'optional'))).toHaveLength(2);
  });

  test('prints what was reviewed with everything asked for', async () => {
    const { out, err } = await install(
      ...['--namespace', 'mesh', '--image', 'registry.example/weft:1', '--ha', '--service-monitor'],
      ...['--trust-domain', 'mesh.example', '--cluster-id', 'east'],
      ...['log-level=debug', 'log-format=text', 'certificate-life=3600', 'server-name=weft.example'].flatMap(
        set,
      ),
      ...['server-name=192.0.2.1', 'listen=::', 'pull-policy=Always', 'replicas=3', 'cpu-request=1'].flatMap(
        set,
      ),
      ...[
        'memory-request=512Mi',
        'memory-limit=2Gi',
        'cni-conf-dir=/run/cni/net.d',
        'cni-bin-dir=/usr/lib/cni',
      ].flatMap(set),
    );
    expect(err).toBe('');
    const own = out.slice(out.indexOf('# Where the controller is'));
    await expect(own).toMatchFileSnapshot('testdata/everything.out.yaml');
  });

  test('prints the same bytes for the same options', async () => {
    const argv = ['--ha', '--set', 'server-name=a', '--set', 'server-name=b'];
    expect((await install(...argv)).out).toBe((await install(...argv)).out);
  });

  test.each([[[]], [['--ha', '--namespace', 'mesh', '--set', 'listen=::']]])(
    'gives the controller arguments that it takes, with %j',
    async (argv) => {
      const deployment = await object('Deployment', ...argv);
      const [program, ...args] = argsOf(deployment);
      expect(program).toBe('controller');
      const parsed = controllerConfig(args, {});
      if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
      const namespace = deployment.metadata.namespace;
      expect(parsed.config.source).toEqual({
        kind: 'cluster',
        caSecret: 'cacerts',
        kubeconfig: undefined,
        namespace,
        // What waypoints run is what the controller runs.
        waypointImage: podOf(deployment).containers[0].image,
      });
      const service = await object('Service', ...argv);
      const ports = podOf(deployment).containers[0].ports as { name: string; containerPort: number }[];
      const portOf = (name: string) => ports.find((port) => port.name === name)?.containerPort;
      expect(parsed.config.address.endsWith(`:${portOf('grpc')}`)).toBe(true);
      expect(parsed.config.adminAddress.endsWith(`:${portOf('http-admin')}`)).toBe(true);
      expect(service['spec'].ports[0]).toMatchObject({ port: 15012, targetPort: 'grpc' });
      expect(parsed.config.serverNames).toContain(`weft-controller.${namespace}.svc`);
    },
  );

  test('gives the node tunnel arguments that it takes, and what they name is mounted', async () => {
    const daemonSet = await object('DaemonSet', '--namespace', 'mesh', '--cluster-id', 'east');
    const [program, ...args] = argsOf(daemonSet);
    expect(program).toBe('ztunnel');
    const parsed = ztunnelConfig(args, { WEFT_NODE: 'node-1' });
    if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
    expect(parsed.values).toMatchObject({
      controller: 'weft-controller.mesh.svc:15012',
      'cluster-id': 'east',
    });
    const mounts = podOf(daemonSet).containers[0].volumeMounts as { mountPath: string }[];
    for (const flag of ['token-file', 'root-cert', 'state-dir'] as const) {
      const file = parsed.values[flag];
      expect(mounts.some(({ mountPath }) => file?.startsWith(`${mountPath}/`))).toBe(true);
    }
  });

  test('the next node tunnel of a node comes before the one before it goes, which gets its time to drain', async () => {
    const daemonSet = await object('DaemonSet');
    expect(daemonSet['spec'].updateStrategy).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxSurge: 1, maxUnavailable: 0 },
    });
    // Two at once: neither may hold a port of the node.
    const { hostNetwork, containers, terminationGracePeriodSeconds } = podOf(daemonSet);
    expect([hostNetwork, JSON.stringify(containers)]).toEqual([
      undefined,
      expect.not.stringContaining('hostPort'),
    ]);
    const parsed = ztunnelConfig(argsOf(daemonSet).slice(1), { WEFT_NODE: 'node-1' });
    if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
    const leastLeft = 5_000;
    expect(terminationGracePeriodSeconds * 1_000 - parsed.values['drain-timeout-ms']).toBeGreaterThanOrEqual(
      leastLeft,
    );
  });

  test('the node tunnel is not privileged and asks for no capability that a machine may lack', async () => {
    const { spec } = await object('DaemonSet');
    const { securityContext } = spec.template.spec.containers[0];
    expect(securityContext).toMatchObject({ privileged: false, readOnlyRootFilesystem: true });
    expect(securityContext.capabilities.drop).toEqual(['ALL']);
    expect(securityContext.capabilities.add).not.toContain('SYS_RESOURCE');
  });

  test('keeps the namespace out of nothing that has one', async () => {
    const own = (await objects('--ha', '--service-monitor', '--namespace', 'mesh')).filter(
      ({ kind }) => kind !== 'CustomResourceDefinition',
    );
    expect(JSON.stringify(own)).not.toContain('weft-system');
    const cluster = ['ClusterRole', 'ClusterRoleBinding', 'Namespace'];
    for (const { kind, metadata } of own) {
      expect([kind, metadata.namespace]).toEqual([kind, cluster.includes(kind) ? undefined : 'mesh']);
    }
  });

  test('with one replica has no budget that would block a drain', async () => {
    const kinds = (await objects()).map(({ kind }) => kind);
    expect(kinds).not.toContain('PodDisruptionBudget');
    expect((await objects('--set', 'replicas=3')).map(({ kind }) => kind)).toContain('PodDisruptionBudget');
  });

  test('--ha makes two replicas that never share a node, and can be updated with as many nodes', async () => {
    const { spec } = await object('Deployment', '--ha');
    expect(spec.replicas).toBe(2);
    expect(spec.strategy.rollingUpdate).toEqual({ maxSurge: 0, maxUnavailable: 1 });
    const [rule] = spec.template.spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution;
    expect(rule.topologyKey).toBe('kubernetes.io/hostname');
    expect(spec.template.metadata.labels).toMatchObject(rule.labelSelector.matchLabels);
  });

  test('grants no wildcard, and nothing of secrets and leases beyond its own', async () => {
    const roles = (await objects()).filter(({ kind }) => kind === 'Role' || kind === 'ClusterRole');
    for (const { kind, rules } of roles) {
      expect(JSON.stringify(rules)).not.toContain('*');
      for (const { resources, verbs, resourceNames } of rules) {
        if (kind === 'ClusterRole') expect(resources).not.toContain('secrets');
        else if (verbs.join() !== 'create') expect(resourceNames).toHaveLength(1);
      }
    }
  });
});

describe('weft install refuses with 64', () => {
  test.each([
    [['--set', 'trust-domian=x'], /no key "trust-domian"; did you mean trust-domain\?/],
    [['--set', 'zzz=x'], /no key "zzz"; the keys are namespace, image/],
    [['--set', 'replicas'], /takes key=value, got "replicas"/],
    [['--set', 'replicas=0'], /--set replicas must be a whole number from 1 to 9, got "0"/],
    [['--set', 'replicas=2', '--set', 'replicas=3'], /"replicas" is given more than once/],
    [['--trust-domain', 'a', '--set', 'trust-domain=b'], /"trust-domain" is given more than once/],
    [['--namespace', 'No_Name'], /--namespace must be a namespace like "weft-system", got "No_Name"/],
    [['--set', 'certificate-life=1'], /--set certificate-life must be a whole number of seconds/],
    [['--set', 'memory-limit=lots'], /--set memory-limit must be bytes like "256Mi"/],
    [['--set', 'a=1', '--set', 'replicas=x'], /"a"[^]*replicas must be/],
    [['--ha', '--set', 'replicas=1'], /contradict/],
    [['--hq'], /Did you mean --ha\?/],
  ])('%j', async (argv, message) => {
    const { status, out, err } = await install(...argv);
    expect(status).toBe(64);
    expect(out).toBe('');
    expect(err).toMatch(message);
  });

  test('every key is explained in the documents', () => {
    const page = readFileSync(join(manifests, '../docs/KUBERNETES.md'), 'utf8');
    expect(Object.keys(installSettings).filter((key) => !page.includes(`| \`${key}\` |`))).toEqual([]);
  });
});

function set(pair: string): string[] {
  return ['--set', pair];
}
