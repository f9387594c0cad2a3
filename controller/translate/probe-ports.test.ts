import { describe, expect, test } from 'vitest';
import { podSchema } from '../resources/core-kinds.ts';
import { probePorts } from './probe-ports.ts';

describe('probePorts()', () => {
  const of = (spec: object): readonly number[] => probePorts(podSchema.parse({ spec }).spec);
  const port = (number: number | string) => ({ port: number });

  test('are those of every probe and hook over the network, of every container, each once', () => {
    const first = {
      startupProbe: { tcpSocket: port(9000) },
      livenessProbe: { httpGet: { ...port(8080), path: '/live' }, periodSeconds: 1 },
      readinessProbe: { httpGet: port(8080) },
      lifecycle: { postStart: { httpGet: port(7001) }, preStop: { tcpSocket: port(7000) } },
    };
    const second = { livenessProbe: { grpc: { ...port(9093), service: 'x' } } };
    const sidecar = { restartPolicy: 'Always', readinessProbe: { httpGet: port(15021) } };
    expect(of({ containers: [first, second], initContainers: [sidecar] })).toEqual([
      7000, 7001, 8080, 9000, 9093, 15021,
    ]);
  });

  test('are found by name among the ports of the same container', () => {
    const other = { ports: [{ name: 'admin', containerPort: 9999 }] };
    const probed = {
      ports: [{ name: 'http', containerPort: 8080 }],
      livenessProbe: { httpGet: port('http') },
      readinessProbe: { httpGet: port('admin') },
    };
    expect(of({ containers: [other, probed] })).toEqual([8080]);
  });

  test('are not those of probes that ask another host, or run in the container', () => {
    const elsewhere = { livenessProbe: { httpGet: { ...port(8080), host: '10.0.0.9' } } };
    const inside = { livenessProbe: { exec: { command: ['true'] } } };
    expect(of({ containers: [elsewhere, inside, {}] })).toEqual([]);
  });

  test('are bounded', () => {
    const containers = Array.from({ length: 40 }, (_, i) => ({ livenessProbe: { tcpSocket: port(1 + i) } }));
    expect(of({ containers })).toHaveLength(32);
  });
});
