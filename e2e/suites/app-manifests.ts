// The objects that the namespaces of end to end tests are made of: the test application as Deployment and Service, and
// pods with an agent to call from. Pure.

import { appImage } from '../images/build-images.ts';
import { agentCommand } from './pod-agent.ts';

export interface ObjectName {
  readonly name: string;
  readonly namespace: string;
}

/** A container of the application, which is named like it. */
export function appContainer(): object {
  return {
    name: 'web',
    image: appImage,
    ports: [{ containerPort: 8080 }, { containerPort: 9090 }],
    env: [{ name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
    readinessProbe: { httpGet: { path: '/ready', port: 8080 }, periodSeconds: 1 },
  };
}

/** As many replicas as nodes, on different ones. */
export function appDeployment(namespace: string, { replicas }: { readonly replicas: number }): object {
  const matchLabels = { app: 'web' };
  const spread = { maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'DoNotSchedule' };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace },
    spec: {
      replicas,
      selector: { matchLabels },
      template: {
        metadata: { labels: matchLabels },
        spec: {
          terminationGracePeriodSeconds: 2,
          topologySpreadConstraints: [{ ...spread, labelSelector: { matchLabels } }],
          containers: [appContainer()],
        },
      },
    },
  };
}

/** Of the application's pods; `spec` is laid over it. */
export function appService({ name, namespace }: ObjectName, spec: object = {}): object {
  const ports = [
    { name: 'http', port: 80, targetPort: 8080 },
    { name: 'tcp', port: 9090 },
    { name: 'banner', port: 9092, appProtocol: 'tcp' },
    { name: 'udp', port: 9091, protocol: 'UDP' },
  ];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: { selector: { app: 'web' }, ports, ...spec },
  };
}

/** A pod with an agent on a certain node. */
export function clientPod({ name, namespace }: ObjectName, node: string): object {
  const startupProbe = {
    exec: { command: ['/bin/wget', '-qO-', 'http://127.0.0.1:9500/'] },
    periodSeconds: 1,
    failureThreshold: 30,
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { app: 'client' } },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'client', image: appImage, command: agentCommand, startupProbe }],
    },
  };
}
