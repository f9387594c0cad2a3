// The CNI step of a node tunnel put together: the socket that the plugin comes to, what is decided there, the plugin in the
// node's chain, and the file of enrolled namespaces. Trouble with any of it is told and harms no pod that runs.

import { fileURLToPath } from 'node:url';
import type { CniFacts } from '../mesh/node-report/node-report.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { CniDirectories } from './cni-files.ts';
import { CniInstaller, type CniInstallerOptions } from './cni-installer.ts';
import { CniServer } from './cni-server.ts';
import { CniStep, type CniStepOptions } from './cni-step.ts';
import { EnrolledNamespaces } from './enrolled-namespaces.ts';

export interface NodeCniOptions {
  /** Of the socket and of what is kept for the plugin; the plugin looks in `/var/lib/weft` of the node. */
  readonly nodeDirectory: string;
  readonly directories: CniDirectories;
  /** Default: the one that was built with this program. */
  readonly program?: string;
  readonly pods: CniStepOptions['pods'];
  readonly isCurrent: CniStepOptions['isCurrent'];
  readonly metrics: CniStepOptions['metrics'] & CniInstallerOptions['metrics'];
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Beside the programs, in an image and after `node cni/build.ts cni/weft-cni`. */
const builtProgram = fileURLToPath(new URL('../cni/weft-cni', import.meta.url));

export class NodeCni {
  #server: CniServer;
  #installer: CniInstaller;
  #enrolled: EnrolledNamespaces;

  private constructor(server: CniServer, installer: CniInstaller, enrolled: EnrolledNamespaces) {
    this.#server = server;
    this.#installer = installer;
    this.#enrolled = enrolled;
  }

  /** The socket first: a pod that comes by the chain finds it. @throws when socket or directory can not be had */
  static async open(options: NodeCniOptions): Promise<NodeCni> {
    const { nodeDirectory: directory, directories, program = builtProgram, metrics, clock, logger } = options;
    const enrolled = await EnrolledNamespaces.open(directory, { logger });
    const { pods, isCurrent } = options;
    const isEnrolled = (namespace: string): boolean => enrolled.has(namespace);
    const step = new CniStep({ pods, isEnrolled, isCurrent, metrics, clock, logger });
    const handle = step.handle.bind(step);
    const server = await CniServer.open({ directory, handle, clock, logger });
    const installer = new CniInstaller({ directories, program, metrics, clock, logger });
    return new NodeCni(server, installer, enrolled);
  }

  /** What the controller says now. */
  enrolled(namespaces: readonly string[]): void {
    this.#enrolled.set(namespaces);
  }

  facts(): CniFacts {
    const { problem } = this.#installer;
    return problem === undefined ? { state: 'chained', message: '' } : { state: 'broken', message: problem };
  }

  /** Answers nobody from here on; plugin and file stay for the next process. */
  async close(): Promise<void> {
    this.#installer.close();
    await Promise.all([this.#server.close(), this.#enrolled.flush()]);
  }
}
