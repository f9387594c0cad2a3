// The Helm chart gives what `weft install` prints, for every choice; and Helm installs, upgrades and uninstalls it on a real
// API server.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ApiServer } from './api-server.ts';
import { chartFolder, helm, helmOk } from './helm.ts';
import { printInstallation } from './installation.ts';
import type { Manifest } from './object-writer.ts';

/** Of Helm, then of `weft install`, for the same. */
const choices: readonly (readonly [readonly string[], readonly string[]])[] = [
  [[], []],
  [['namespace=mesh'], ['--namespace', 'mesh']],
  [['image=registry.example:5000/weft@sha256:00'], ['--image', 'registry.example:5000/weft@sha256:00']],
  [['trustDomain=mesh.example'], ['--trust-domain', 'mesh.example']],
  [['clusterId=east'], ['--cluster-id', 'east']],
  [
    ['serverNames={weft.example,192.0.2.1}'],
    ['--set', 'server-name=weft.example', '--set', 'server-name=192.0.2.1'],
  ],
  [['certificateLife=604800'], ['--set', 'certificate-life=604800']],
  [['caSecret=own-ca'], ['--set', 'ca-secret=own-ca']],
  [['logLevel=debug'], ['--set', 'log-level=debug']],
  [['logFormat=text'], ['--set', 'log-format=text']],
  [['pullPolicy=Always'], ['--set', 'pull-policy=Always']],
  [['listen=::'], ['--set', 'listen=::']],
  [['replicas=2'], ['--ha']],
  [['replicas=5'], ['--set', 'replicas=5']],
  [['cpuRequest=2'], ['--set', 'cpu-request=2']],
  [
    ['memoryRequest=512Mi', 'memoryLimit=2Gi'],
    ['--set', 'memory-request=512Mi', '--set', 'memory-limit=2Gi'],
  ],
  [
    ['cniConfDir=/run/cni/net.d', 'cniBinDir=/usr/lib/cni'],
    ['--set', 'cni-conf-dir=/run/cni/net.d', '--set', 'cni-bin-dir=/usr/lib/cni'],
  ],
  [['serviceMonitor=true'], ['--service-monitor']],
  [
    [
      'namespace=mesh',
      'replicas=3',
      'serviceMonitor=true',
      'caSecret=own-ca',
      'serverNames={a}',
      'listen=::',
    ],
    [
      '--namespace',
      'mesh',
      '--set',
      'replicas=3',
      '--service-monitor',
      '--set',
      'ca-secret=own-ca',
      '--set',
      'server-name=a',
      '--set',
      'listen=::',
    ],
  ],
];

describe('helm template', () => {
  it.each(choices)('with %j gives the objects of weft install %j', async (values, options) => {
    const set = ['namespace=weft-system', ...values].flatMap((value) => ['--set', value]);
    const rendered = await template(set);
    const { objects } = await printInstallation(...options);
    expect(byName(rendered)).toEqual(byName(objects));
  });

  it('in the namespace of the release leaves the making of that to Helm, and nothing else out', async () => {
    const rendered = await template(['--namespace', 'weft-system']);
    const { objects } = await printInstallation();
    expect(byName(rendered)).toEqual(byName(objects.filter(({ kind }) => kind !== 'Namespace')));
  });

  it('leaves the definitions out where asked to', async () => {
    const kinds = (await template(['--set', 'crds=false'])).map(({ kind }) => kind);
    expect(kinds).not.toContain('CustomResourceDefinition');
  });

  it.each([
    ['replicas=0', 'replicas'],
    ['trustDomian=x', 'trustDomian'],
    ['memoryLimit=lots', 'memoryLimit'],
  ])('refuses %s', async (value, name) => {
    const { status, stderr } = await helm(['template', 'weft', chartFolder, '--set', value]);
    expect(status).not.toBe(0);
    expect(stderr).toContain(name);
  });
});

describe('helm', () => {
  let server: ApiServer;
  beforeAll(async () => {
    server = await ApiServer.start();
  });
  afterAll(async () => {
    await server?.close();
  });

  it('lint finds nothing', async () => {
    expect(await helmOk(['lint', '--strict', chartFolder])).toContain('0 chart(s) failed');
  });

  it('installs, upgrades and uninstalls the chart; definitions are upgraded, and stay', async () => {
    const access = { kubeconfig: server.kubeconfig };
    const release = ['weft', '--namespace', 'weft-system'];
    await helmOk(['install', ...release, '--create-namespace', chartFolder], access);
    const path = 'jsonpath={.spec.names.shortNames}';
    const shortNames = ['get', 'crd', 'meshconfigs.weft.dev', '-o', path];
    const before = await server.kubectlOk(shortNames);
    // As an older version would have left it.
    const older = '[{"op":"remove","path":"/spec/names/shortNames"}]';
    await server.kubectlOk(['patch', 'crd', 'meshconfigs.weft.dev', '--type=json', '-p', older]);
    expect(await server.kubectlOk(shortNames)).not.toBe(before);
    await helmOk(['upgrade', ...release, '--set', 'replicas=2', chartFolder], access);
    expect(await server.kubectlOk(shortNames)).toBe(before);
    const replicas = [
      'get',
      'deployment',
      '-n',
      'weft-system',
      'weft-controller',
      '-o',
      'jsonpath={.spec.replicas}',
    ];
    expect(await server.kubectlOk(replicas)).toBe('2');
    await helmOk(['uninstall', ...release], access);
    const left = await server.kubectlOk(['get', 'deployment,daemonset', '-A', '-o', 'name']);
    expect(left).toBe('');
    expect(await server.kubectlOk(shortNames)).toBe(before);
  });
});

async function template(args: readonly string[]): Promise<readonly Manifest[]> {
  const text = await helmOk(['template', 'weft', chartFolder, ...args]);
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((object) => object !== null);
}

function byName(objects: readonly Manifest[]): Readonly<Record<string, Manifest>> {
  return Object.fromEntries(objects.map((object) => [`${object.kind} ${object.metadata.name}`, object]));
}
