// The Services that the mesh profile's pods are behind.

export interface EchoService {
  readonly name: string;
  readonly selector: Readonly<Record<string, string>>;
  /** Default: whatever a cluster gives. */
  readonly address?: string;
}

const version = (value: string) => ({ app: 'echo', version: value });

/** `echo` for every pod, and one for each version. */
export const echoServices: readonly EchoService[] = [
  { name: 'echo', selector: { app: 'echo' } },
  { name: 'echo-v1', selector: version('v1') },
  { name: 'echo-v2', selector: version('v2') },
];

/** In the namespace `shop`. Only `echo` says that its gRPC is HTTP/2; of the others it has to be found out. */
export function echoServiceObject({ name, selector, address }: EchoService): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop' },
    spec: {
      ...(address !== undefined && { clusterIP: address, clusterIPs: [address] }),
      selector,
      ports: [
        { name: 'http', port: 80, targetPort: 8080, appProtocol: 'http' },
        { name: 'http-alt', port: 8080, appProtocol: 'http' },
        { name: 'tcp', port: 9090 },
        { name: 'grpc', port: 7070, ...(name === 'echo' && { appProtocol: 'kubernetes.io/h2c' }) },
      ],
    },
  };
}
