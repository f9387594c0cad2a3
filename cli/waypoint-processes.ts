// The waypoints of `weft up`: one process for each pod of this machine that a Gateway of class weft-waypoint has, in that
// pod's network namespace. Which those are is the controller's to say; it is asked again and again, because manifests
// change. One that ends by itself is started anew; the mesh goes on meanwhile, and its traffic is refused.

import type { Clock } from '../mesh/runtime/clock.ts';
import { endText, type ProgramEnd } from './program-pair.ts';

export interface WantedWaypoint {
  /** `namespace/name`. */
  readonly gateway: string;
  /** Uid of the pod. */
  readonly pod: string;
  /** Path of its network namespace. */
  readonly netns: string;
}

export interface RunningWaypoint {
  readonly ended: Promise<ProgramEnd>;
  /** Asks it to end. */
  end(): void;
}

export interface WaypointProcessesOptions {
  readonly clock: Clock;
  /** What is to run now. */
  readonly wanted: () => Promise<readonly WantedWaypoint[]>;
  /** Once for each Gateway: what `start` needs of it, for example a file with its token. */
  readonly prepare: (gateway: string) => Promise<string>;
  readonly start: (wanted: WantedWaypoint, prepared: string) => RunningWaypoint;
  readonly say: (text: string) => void;
}

const askEveryMs = 2_000;

export class WaypointProcesses {
  readonly #options: WaypointProcessesOptions;
  readonly #prepared = new Map<string, string>();
  readonly #running = new Map<string, { readonly process: RunningWaypoint; ending: boolean }>();
  #refreshing = Promise.resolve();
  #cancel = (): void => {};
  #stopped = false;

  constructor(options: WaypointProcessesOptions) {
    this.#options = options;
  }

  /** Begins to ask, until `stop`. */
  run(): void {
    if (this.#stopped) return;
    this.#refreshing = this.#refresh().then(() => {
      if (this.#stopped) return;
      const timer = this.#options.clock.after(askEveryMs, () => this.run(), { unref: true });
      this.#cancel = () => timer.cancel();
    });
  }

  /** Starts nothing more from now on; resolves when it asks nothing more. What runs, others end. Idempotent. */
  stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    return this.#refreshing;
  }

  async #refresh(): Promise<void> {
    let list: readonly WantedWaypoint[];
    try {
      list = await this.#options.wanted();
    } catch {
      return; // The controller is busy or about to end: nothing is known to have changed.
    }
    const wanted = new Map(list.map((one) => [`${one.gateway} ${one.pod} ${one.netns}`, one]));
    if (this.#stopped) return;
    for (const [key, running] of this.#running) {
      if (wanted.has(key) || running.ending) continue;
      running.ending = true;
      running.process.end();
    }
    for (const [key, one] of wanted) if (!this.#running.has(key)) await this.#start(key, one);
  }

  async #start(key: string, wanted: WantedWaypoint): Promise<void> {
    const { prepare, start, say } = this.#options;
    try {
      const prepared = this.#prepared.get(wanted.gateway) ?? (await prepare(wanted.gateway));
      this.#prepared.set(wanted.gateway, prepared);
      if (this.#stopped) return;
      const process = start(wanted, prepared);
      this.#running.set(key, { process, ending: false });
      void process.ended.then((end) => {
        this.#running.delete(key);
        if (!this.#stopped) say(`the waypoint ${wanted.gateway} ${endText(end)}`);
      });
    } catch (error) {
      say(`starting the waypoint ${wanted.gateway} failed: ${(error as Error).message}`);
    }
  }
}

interface ControllerDump {
  readonly waypoints?: readonly { readonly gateway: string; readonly serviceAccount: string }[];
  readonly pods?: readonly {
    readonly uid: string;
    readonly namespace: string;
    readonly serviceAccount: string;
    readonly node: string;
    readonly netns: string;
    readonly enrolled: boolean;
  }[];
  readonly workloads?: readonly {
    readonly uid: string;
    readonly services: Readonly<Record<string, unknown>>;
  }[];
}

/** From the controller's `/config_dump`: pods of the node that are endpoints of a Gateway's own Service. */
export function wantedWaypoints(dumpText: string, node: string): readonly WantedWaypoint[] {
  const { waypoints = [], pods = [], workloads = [] } = JSON.parse(dumpText) as ControllerDump;
  const services = new Map(workloads.map((workload) => [workload.uid, Object.keys(workload.services)]));
  return waypoints.flatMap(({ gateway, serviceAccount }) => {
    const [namespace, name] = gateway.split('/') as [string, string];
    const isOwn = (key: string): boolean => key.startsWith(`${namespace}/${name}.${namespace}.svc.`);
    return pods
      .filter((pod) => pod.node === node && pod.namespace === namespace && !pod.enrolled)
      .filter((pod) => pod.serviceAccount === serviceAccount && services.get(pod.uid)?.some(isOwn))
      .map(({ uid, netns }) => ({ gateway, pod: uid, netns }));
  });
}
