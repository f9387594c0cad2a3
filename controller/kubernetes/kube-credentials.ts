// Where a Kubernetes API server is and who we are to it, from a kubeconfig or from the pod this runs in. Files are read
// anew as they change, because tokens, certificates and kubeconfigs are rotated under a program that runs; one that
// cannot be read just now (it is being replaced) is not trusted to be gone: what was read last counts.

import { existsSync, readFileSync, statSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { dirname, resolve } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { KubeError } from './kube-error.ts';

export interface Credentials {
  readonly headers: Readonly<Record<string, string>>;
  /** For basic authentication. */
  readonly auth?: string;
  /** The way through a proxy, in place of `tls`. */
  readonly agent?: RequestOptions['agent'];
  readonly tls: Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized'>;
}

interface Loaded {
  readonly config: KubeConfig;
  readonly server: URL;
  /** Of the current user. */
  readonly tokenFile: string | undefined;
}

const podTokenFile = '/var/run/secrets/kubernetes.io/serviceaccount/token';

export class KubeCredentials {
  readonly #path: string | undefined;
  /** Of the kubeconfig that was looked at last. */
  #stamp: string;
  #loaded: Loaded;
  #token: string | undefined;

  private constructor(path: string | undefined, stamp: string, loaded: Loaded) {
    this.#path = path;
    this.#stamp = stamp;
    this.#loaded = loaded;
  }

  /** Throws KubeError `CONFIG`. */
  static fromFile(path: string): KubeCredentials {
    const stamp = stampOf(path);
    return new KubeCredentials(path, stamp, loadFile(path));
  }

  /** With the ServiceAccount of the pod this runs in. Throws KubeError `CONFIG`. */
  static inCluster(): KubeCredentials {
    if (!existsSync(podTokenFile)) {
      throw new KubeError(
        'CONFIG',
        `Not in a pod with a service account ("${podTokenFile}" is missing): give --kubeconfig`,
      );
    }
    const config = new KubeConfig();
    config.loadFromCluster();
    return new KubeCredentials(undefined, '', loaded(config, podTokenFile));
  }

  /** As `config` has them, which is not read again. Throws KubeError `CONFIG`. */
  static fromConfig(config: KubeConfig): KubeCredentials {
    return new KubeCredentials(undefined, '', loaded(config, undefined));
  }

  get server(): URL {
    return this.#loaded.server;
  }

  /** As they are now. Rejects with KubeError `CONFIG`. */
  async current(): Promise<Credentials> {
    this.#reload();
    const { config, tokenFile } = this.#loaded;
    const options: RequestOptions & { headers: Record<string, string> } = { headers: {} };
    try {
      await config.applyToHTTPSOptions(options);
      if (tokenFile !== undefined) options.headers['Authorization'] = `Bearer ${this.#readToken(tokenFile)}`;
    } catch (cause) {
      throw new KubeError('CONFIG', `Cannot get credentials for the Kubernetes API: ${why(cause)}`, {
        cause,
      });
    }
    const { headers, auth, agent, ...tls } = options;
    const isProxied = config.getCurrentCluster()?.proxyUrl !== undefined;
    return {
      headers,
      tls,
      ...(typeof auth === 'string' && { auth }),
      ...(isProxied && agent !== undefined && { agent }),
    };
  }

  /** A kubeconfig that changed; half of one is looked at again. */
  #reload(): void {
    if (this.#path === undefined) return;
    const stamp = stampOf(this.#path);
    if (stamp === this.#stamp) return;
    try {
      this.#loaded = loadFile(this.#path);
      this.#token = undefined;
      this.#stamp = stamp;
    } catch {
      // What was read last counts.
    }
  }

  #readToken(file: string): string {
    try {
      const token = readFileSync(file, 'utf8').trim();
      if (token === '') throw new Error(`token file "${file}" is empty`);
      this.#token = token;
      return token;
    } catch (error) {
      if (this.#token === undefined) throw error;
      return this.#token;
    }
  }
}

function loadFile(path: string): Loaded {
  try {
    const config = new KubeConfig();
    config.loadFromFile(path);
    return loaded(config, tokenFileOf(path, config.getCurrentUser()?.name));
  } catch (cause) {
    if (cause instanceof KubeError) throw cause;
    throw new KubeError('CONFIG', `Cannot read the kubeconfig "${path}": ${why(cause)}`, { cause });
  }
}

function loaded(config: KubeConfig, tokenFile: string | undefined): Loaded {
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new KubeError('CONFIG', 'Kubeconfig has no current context with a cluster');
  try {
    return { config, server: new URL(cluster.server), tokenFile };
  } catch (cause) {
    throw new KubeError('CONFIG', `Kubeconfig's server "${cluster.server}" is no URL`, { cause });
  }
}

/** `tokenFile` of a user, which the library does not know; before its `token`, as everywhere. */
export function tokenFileOf(path: string, userName: string | undefined): string | undefined {
  const content = parse(readFileSync(path, 'utf8')) as {
    users?: { name?: unknown; user?: { tokenFile?: unknown } | null }[] | null;
  } | null;
  const entry = content?.users?.find(({ name }) => name === userName);
  const file = entry?.user?.tokenFile;
  return typeof file === 'string' && file !== '' ? resolve(dirname(path), file) : undefined;
}

/** Changes with the file; also when it is replaced within a clock tick, by its inode. */
function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? 'missing' : `${stat.mtimeMs} ${stat.size} ${stat.ino}`;
}

function why(cause: unknown): string {
  return cause instanceof Error ? (cause.message.split('\n')[0] as string) : String(cause);
}
