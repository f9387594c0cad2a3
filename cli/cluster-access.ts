// How commands reach a cluster: by the kubeconfig that kubectl would take, unless the user names one; and a page of a
// program in a pod, through the API server as `kubectl port-forward` has it.

import { existsSync, readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Duplex, PassThrough, type Readable, Writable } from 'node:stream';
import { KubeConfig, PortForward } from '@kubernetes/client-node';
import { KubeClient } from '../controller/kubernetes/kube-client.ts';
import { tokenFileOf } from '../controller/kubernetes/kube-credentials.ts';
import { KubeError } from '../controller/kubernetes/kube-error.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import { CliError } from './cli-error.ts';
import { kubeconfigVariable } from './config.ts';

export interface ClusterOptions {
  /** A file; default what KUBECONFIG names, then ~/.kube/config. */
  readonly kubeconfig?: string;
  /** Default the file's current one. */
  readonly context?: string;
}

export interface PageTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
  readonly path: string;
}

export interface ClusterAccess extends Disposable {
  readonly client: KubeClient;
  /** The body of a page on a port of a pod's loopback address. Rejects with an Error for people. */
  readonly readPage: (target: PageTarget) => Promise<string>;
}

const pageTimeoutMs = 10_000;
const maxPageBytes = 64 * 1024 * 1024;

/** Dials nobody yet. Throws CliError `usage` where no cluster is named. */
export function openCluster(options: ClusterOptions, clock: Clock): ClusterAccess {
  const config = loadConfig(options, kubeconfigVariable());
  try {
    const client = KubeClient.fromConfig(config, { clock });
    const readPage = (target: PageTarget): Promise<string> => readPodPage(config, target, clock);
    return { client, readPage, [Symbol.dispose]: () => client.close() };
  } catch (error) {
    throw cliErrorOf(error);
  }
}

/** What a KubeError means for a user; anything else as it is. */
export function cliErrorOf(error: unknown): unknown {
  if (!(error instanceof KubeError)) return error;
  const code = error.code === 'CONFIG' ? 'usage' : error.code === 'UNREACHABLE' ? 'unreachable' : 'failed';
  const hint =
    code === 'unreachable'
      ? '; is the cluster up, and does kubectl get nodes work with this kubeconfig?'
      : '';
  return new CliError(code, `${error.message}${hint}`, { cause: error });
}

function loadConfig({ kubeconfig, context }: ClusterOptions, variable: string): KubeConfig {
  const files = kubeconfig === undefined ? defaultFiles(variable) : [kubeconfig];
  const config = new KubeConfig();
  try {
    for (const file of files) mergeFile(config, file);
  } catch (cause) {
    const [line] = (cause as Error).message.split('\n');
    throw new CliError('usage', `Cannot read the kubeconfig ${files.join(', ')}: ${line}`, { cause });
  }
  if (context !== undefined) {
    if (config.getContextObject(context) === null) {
      const names = config.getContexts().map(({ name }) => name);
      throw new CliError(
        'usage',
        `No context "${context}" in ${files.join(', ')}; there are: ${names.join(', ')}`,
      );
    }
    config.setCurrentContext(context);
  }
  return config;
}

/** As kubectl takes them: of several that KUBECONFIG names, the first that says something counts. */
function defaultFiles(variable: string): readonly string[] {
  const named = variable.split(delimiter).filter((file) => file !== '' && existsSync(file));
  if (named.length > 0) return named;
  const usual = join(homedir(), '.kube/config');
  if (variable === '' && existsSync(usual)) return [usual];
  const looked = variable === '' ? usual : variable;
  throw new CliError('usage', `No kubeconfig at ${looked}: name one by --kubeconfig or KUBECONFIG`);
}

function mergeFile(config: KubeConfig, file: string): void {
  const one = new KubeConfig();
  one.loadFromFile(file);
  const user = one.getCurrentUser();
  const tokenFile = tokenFileOf(file, user?.name);
  if (user !== null && tokenFile !== undefined) {
    const token = readFileSync(tokenFile, 'utf8').trim();
    one.users = one.users.map((other) => (other.name === user.name ? { ...other, token } : other));
  }
  if (config.getContexts().length === 0) config.loadFromOptions(one);
  else config.mergeConfig(one, true);
}

async function readPodPage(config: KubeConfig, target: PageTarget, clock: Clock): Promise<string> {
  const { namespace, pod, port, path } = target;
  const [toPod, problems] = [new PassThrough(), new PassThrough()];
  const stream = duplexOf(toPod);
  const fromPod = new Writable({ write: (chunk, _, done) => done(void stream.push(chunk)) });
  const what = `page ${path} of pod ${namespace}/${pod}`;
  const socket = await new PortForward(config)
    .portForward(namespace, pod, [port], fromPod, problems, toPod)
    .catch((cause: unknown) => {
      const reason = (cause as { readonly message?: string }).message ?? 'refused';
      throw new Error(
        `the way to the ${what} is closed (${reason}); it takes the right to create pods/portforward`,
        { cause },
      );
    });
  if (typeof socket === 'function') throw new Error('A connection that is made again was not asked for');
  const timer = clock.after(pageTimeoutMs, () =>
    stream.destroy(new Error(`the ${what} did not answer in time`)),
  );
  // What the kubelet says, as that nobody listens.
  problems.on('data', (text: Buffer) =>
    stream.destroy(new Error(`the ${what}: ${text.toString('utf8').trim()}`)),
  );
  socket.addEventListener('close', () => stream.push(null));
  try {
    return await getBody(stream, path);
  } finally {
    timer.cancel();
    stream.destroy();
    socket.close();
  }
}

/** Whose writing goes to `toPod`; what comes from there is pushed into it. */
function duplexOf(toPod: PassThrough): Duplex {
  return new Duplex({
    read() {},
    write: (chunk: Buffer, encoding, done) => void toPod.write(chunk, encoding, done),
  });
}

/** Over a connection that is there. Rejects for another status than 200. */
function getBody(stream: Duplex, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { host: 'localhost', connection: 'close' };
    const request = httpRequest({ path, headers, createConnection: () => stream }, (response) => {
      void readBody(response).then((body) => {
        if (response.statusCode === 200) resolve(body);
        else
          reject(
            new Error(
              `the controller answered ${path} with ${response.statusCode}: ${body.trim().slice(0, 200)}`,
            ),
          );
      }, reject);
    });
    request.on('error', reject);
    request.end();
  });
}

async function readBody(response: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    bytes += (chunk as Buffer).length;
    if (bytes > maxPageBytes) throw new Error(`the page has more than ${maxPageBytes} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}
