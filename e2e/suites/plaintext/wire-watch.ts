// Watches every link of some nodes for bytes that must not be there, for as long as it lives. Frames that hold none are
// forgotten at once; those that hold some are kept, and can be saved for Wireshark.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster } from '../../cluster/cluster.ts';
import { PacketCapture } from '../../lab/packet-capture.ts';

/** Often enough that the sockets' queues hold what comes between. */
const lookEveryMs = 200;

interface NodeWatch {
  readonly node: string;
  readonly capture: PacketCapture;
  readonly guilty: Buffer[];
  frames: number;
}

export class WireWatch implements Disposable {
  readonly #words: readonly string[];
  readonly #nodes: NodeWatch[] = [];
  readonly #timer: NodeJS.Timeout;
  #failure: Error | undefined;

  private constructor(words: readonly string[]) {
    this.#words = words;
    this.#timer = setInterval(() => this.#lookOrRemember(), lookEveryMs);
  }

  /** On all interfaces of every node: a frame is seen once on each that it passes. */
  static async open(cluster: Cluster, words: readonly string[]): Promise<WireWatch> {
    const watch = new WireWatch(words);
    for (const node of cluster.nodes) {
      const capture = new PacketCapture(await cluster.netnsOf(node));
      watch.#nodes.push({ node, capture, guilty: [], frames: 0 });
    }
    return watch;
  }

  /** Frames of all nodes so far. Throws LabError `capture` if some were missed. */
  seen(): { readonly frames: number; readonly guilty: number } {
    if (this.#failure !== undefined) throw this.#failure;
    this.#look();
    const sum = (of: (node: NodeWatch) => number): number =>
      this.#nodes.reduce((total, node) => total + of(node), 0);
    return { frames: sum(({ frames }) => frames), guilty: sum(({ guilty }) => guilty.length) };
  }

  /** Writes what was found as NODE.pcap. */
  save(folder: string): void {
    mkdirSync(folder, { recursive: true });
    for (const { node, capture, guilty } of this.#nodes) {
      capture.frames.push(...guilty);
      capture.save(join(folder, `${node}.pcap`));
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const { capture } of this.#nodes) capture[Symbol.dispose]();
  }

  #lookOrRemember(): void {
    try {
      this.#look();
    } catch (error) {
      this.#failure ??= error as Error;
    }
  }

  #look(): void {
    for (const watched of this.#nodes) {
      for (const frame of watched.capture.take()) {
        if (isLoopback(frame)) continue;
        watched.frames++;
        if (this.#words.some((word) => frame.includes(word, 0, 'latin1'))) watched.guilty.push(frame);
      }
    }
  }
}

/** No link of a node: its own programs talk there, also about what a test was told. Addresses of Ethernet are all zero. */
function isLoopback(frame: Buffer): boolean {
  return frame.readUIntBE(0, 6) === 0 && frame.readUIntBE(6, 6) === 0;
}
