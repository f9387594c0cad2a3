import { describe, expect, it } from 'vitest';
import { buildResources, type Resources } from '../resources/resources.ts';
import { parseManifest } from '../source/parse-manifest.ts';
import { withEnrolmentOff } from './letting-go.ts';
import { translate } from './translate.ts';

function pod(name: string, namespace: string, ip: string, labels = '{}'): string {
  return `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, uid: uid-${name}, labels: ${labels} }
spec: { nodeName: node-1, containers: [] }
status: { podIP: ${ip} }
---`;
}

function cluster(enrolment: string): Resources {
  const text = `
apiVersion: v1
kind: Namespace
metadata: { name: mesh, labels: { weft.dev/enrolment: "${enrolment}" } }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { weft.dev/mode: ambient } }
---
apiVersion: v1
kind: Namespace
metadata: { name: alias, labels: { istio.io/dataplane-mode: ambient } }
---${pod('web', 'shop', '10.0.0.1')}${pod('single', 'other', '10.0.0.2', '{ weft.dev/mode: ambient }')}${pod('old', 'alias', '10.0.0.3')}
`;
  const { objects, problems } = parseManifest(text, 'cluster.yaml');
  expect(problems).toEqual([]);
  return buildResources(objects.map(({ typed }) => typed));
}

const options = { clusterId: 'c', ownNamespace: 'mesh' };

function enrolled(resources: Resources) {
  const { model } = translate(resources, options);
  const tunnels = [...model.workloads.values()].map(({ tunnelProtocol }) => tunnelProtocol);
  const pods = [...model.pods.values()].flatMap((one) => (one.enrolled ? [one.name] : []));
  return { namespaces: model.enrolledNamespaces, pods: pods.sort(), tunnels: [...new Set(tunnels)] };
}

describe('weft.dev/enrolment: off on the namespace of the mesh', () => {
  it('takes every pod out of the mesh, however it asked to be in it', () => {
    expect(enrolled(cluster('off'))).toEqual({ namespaces: [], pods: [], tunnels: ['none'] });
  });

  it('has no other value that does anything', () => {
    const all = { namespaces: ['alias', 'shop'], pods: ['old', 'single', 'web'], tunnels: ['hbone'] };
    expect(enrolled(cluster('on'))).toEqual(all);
  });

  it('does nothing on the namespace of somebody else', () => {
    const resources = cluster('off');
    expect(withEnrolmentOff(resources, { own: 'weft-system' })).toBe(resources);
  });
});
