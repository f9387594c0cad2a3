// The ports of a pod that its own probes and lifecycle hooks ask over the network: there, and nowhere else, its node lets
// the kubelet past the mesh. Pure.

import type { Pod } from '../resources/core-kinds.ts';

type Container = Pod['spec']['containers'][number];

/** More than any pod has; the rest is held to the policies. */
const maxPorts = 32;

/** Sorted, each once. What names another `host` does not ask the pod. */
export function probePorts({ containers, initContainers }: Pod['spec']): readonly number[] {
  const ports = new Set<number>();
  for (const container of [...containers, ...initContainers]) {
    for (const port of askedPorts(container)) {
      // A name is one of the same container's ports.
      const number =
        typeof port === 'number' ? port : container.ports.find(({ name }) => name === port)?.containerPort;
      if (number !== undefined) ports.add(number);
    }
  }
  return [...ports].toSorted((a, b) => a - b).slice(0, maxPorts);
}

function askedPorts(container: Container): readonly (number | string)[] {
  const { startupProbe, livenessProbe, readinessProbe, lifecycle } = container;
  return [startupProbe, livenessProbe, readinessProbe, lifecycle?.postStart, lifecycle?.preStop]
    .flatMap((handler) => [handler?.httpGet, handler?.tcpSocket, handler?.grpc])
    .flatMap((target) => (target === undefined || (target.host ?? '') !== '' ? [] : [target.port]));
}
