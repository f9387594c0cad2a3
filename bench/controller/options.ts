// The command line of `npm run bench -- controller`.

import { parseArgs } from 'node:util';
import { BenchError } from '../bench-error.ts';
import type { MeshSize } from './mesh-objects.ts';

export interface ControllerBenchOptions {
  readonly help: boolean;
  /** In one process without sockets, at growing sizes, instead of the measurement with real clients. */
  readonly simulate: boolean;
  /** Objects are written into a real kube-apiserver. */
  readonly apiServer: boolean;
  readonly size: MeshSize;
  /** Changes a second of the sustained part. */
  readonly rate: number;
  readonly seconds: number;
  readonly nodeFlags: readonly string[];
}

export const controllerUsage = `Usage: npm run bench -- controller [OPTIONS]

Measures the controller: its own process, a stand-in for the Kubernetes API that objects are written into, and nodes as
real clients in two processes. Loopback only, no root needed. About two minutes.

  --services N       (default 1000)
  --pods N           (default 10000)
  --nodes N          (default 100)
  --rate N           changes a second of the sustained part (default 50)
  --seconds N        length of the sustained part and of the idle one (default 20)
  --node-flags LIST  flags of node for the controller, separated by commas, such as --cpu-prof
  --api-server       a real kube-apiserver and etcd (as for npm run test:kube) in place of the stand-in, in namespaces of
                     their own; their cost on the same cores is measured along
  --simulate         translation, pushes and memory up to 1,000 nodes and 100,000 pods, in one process, no sockets
`;

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;

/** Throws BenchError `usage`, or node's own error. */
export function parseControllerBenchOptions(argv: readonly string[]): ControllerBenchOptions {
  const { values } = parseArgs({
    args: [...argv],
    strict: true,
    options: {
      help: { ...flag, short: 'h' },
      simulate: flag,
      'api-server': flag,
      services: text,
      pods: text,
      nodes: text,
      rate: text,
      seconds: text,
      'node-flags': text,
    },
  });
  if (values.simulate && values['api-server'])
    throw new BenchError('usage', 'Options --simulate and --api-server exclude each other');
  return {
    help: values.help,
    simulate: values.simulate,
    apiServer: values['api-server'],
    size: {
      services: wholeNumber('services', values.services, 1000),
      pods: wholeNumber('pods', values.pods, 10_000),
      nodes: wholeNumber('nodes', values.nodes, 100),
    },
    rate: wholeNumber('rate', values.rate, 50),
    seconds: wholeNumber('seconds', values.seconds, 20),
    nodeFlags: (values['node-flags'] ?? '').split(',').filter((entry) => entry !== ''),
  };
}

function wholeNumber(name: string, given: string | undefined, fallback: number): number {
  if (given === undefined) return fallback;
  if (/^[1-9][0-9]{0,5}$/.test(given)) return Number(given);
  throw new BenchError('usage', `Option --${name} takes a whole number from 1 to 999999, got "${given}"`);
}
