// What a PodManager stands on, without kernel and controller: certificates that the test hands out, namespaces that are
// files, and a record of what was captured. Strict: what the test did not prepare throws.

import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetnsError } from '../../mesh/io/netns.ts';
import { ip } from '../../mesh/model/fixture.ts';
import { emptyDelta } from '../../mesh/model/model.ts';
import type { NodePod } from '../../mesh/model/node-pod.ts';
import { formatSpiffeId, type Identity, identityOf } from '../../mesh/model/spiffe-id.ts';
import type { WorkloadUid } from '../../mesh/model/workload.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { Store } from '../../mesh/state/store.ts';
import type { CertificateListener } from '../../mesh/tls/certificate-manager.ts';
import type { WorkloadCertificate } from '../../mesh/tls/workload-certificate.ts';
import { PodManager } from '../pod-manager.ts';
import type { LocatedNetns } from '../pod-netns.ts';
import type { Sandbox } from '../sandbox.ts';

/** Hands out what `issue` says, and knows who wanted what. */
export class TestCertificates {
  readonly wanted: string[] = [];
  #valid = new Map<string, WorkloadCertificate>();
  #listeners = new Set<CertificateListener>();

  want(identity: Identity): void {
    this.wanted.push(formatSpiffeId(identity));
  }

  release(identity: Identity): void {
    const at = this.wanted.indexOf(formatSpiffeId(identity));
    if (at < 0) throw new Error('Released a certificate that nobody wanted');
    this.wanted.splice(at, 1);
  }

  get(identity: Identity): WorkloadCertificate | undefined {
    return this.#valid.get(formatSpiffeId(identity));
  }

  subscribe(listener: CertificateListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  issue(identity: Identity): void {
    const spiffeId = formatSpiffeId(identity);
    const certificate = { identity, spiffeId } as unknown as WorkloadCertificate;
    this.#valid.set(spiffeId, certificate);
    for (const listener of this.#listeners) listener(certificate);
  }
}

export class PodWorld implements Disposable {
  readonly clock = new ManualClock();
  readonly certificates = new TestCertificates();
  readonly store = new Store();
  /** `UID at ADDRESSES` of what is captured now. */
  readonly captured = new Map<WorkloadUid, string>();
  /** What capturing fails with. */
  trouble: string | undefined;
  readonly pods: PodManager;
  settled = 0;
  /** Whose DNS queries under way were given up, in order. */
  readonly settledPods: WorkloadUid[] = [];
  /** Namespaces that are held open. */
  held = 0;
  #directory = mkdtempSync(join(tmpdir(), 'weft-pods-'));
  #processes = new Map<string, string>();

  constructor() {
    this.pods = new PodManager({
      node: 'node-1',
      capturer: {
        capture: (pod) => {
          if (this.trouble !== undefined) throw new Error(this.trouble);
          if (this.captured.has(pod.uid)) throw new Error(`Captured ${pod.uid} twice`);
          this.captured.set(pod.uid, pod.addresses.join());
        },
        release: (uid) => {
          if (!this.captured.delete(uid)) throw new Error(`Released ${uid}, which was not captured`);
        },
        settle: (uid) => void this.settledPods.push(uid),
        revoke: () => {},
        forgetIdentity: () => {},
        endInherited: () => {},
      },
      netns: {
        locate: (netns) => {
          const file = this.#processes.get(netns);
          if (file === undefined) throw new NetnsError('not-found', `No process in ${netns}`);
          return this.#hold(file, () => this.#processes.get(netns) === file);
        },
      },
      certificates: this.certificates,
      metrics: { podStarted: () => {}, podStopped: () => {}, podsPending: () => {} },
      onSettled: () => this.settled++,
      clock: this.clock,
      logger: createLogger({ component: 'pods', level: 'silent' }),
    });
    this.pods.reconcile(this.store.snapshot());
    this.settled = 0;
  }

  tell(...pods: readonly NodePod[]): void {
    this.store.apply({ ...emptyDelta, pods });
    this.pods.reconcile(this.store.snapshot());
  }

  forget(...uids: readonly string[]): void {
    this.store.apply({ ...emptyDelta, removed: { ...emptyDelta.removed, pods: uids as WorkloadUid[] } });
    this.pods.reconcile(this.store.snapshot());
  }

  issue(pod: NodePod): void {
    this.certificates.issue(identityOf(pod));
  }

  /** The pod's processes are in the namespace `name` from now on. */
  run(pod: NodePod, name: string): void {
    this.#processes.set(pod.netns, this.#file(name));
  }

  end(pod: NodePod): void {
    this.#processes.delete(pod.netns);
  }

  sandbox(id: string, netns: string, ...addresses: readonly string[]): Sandbox {
    return { id, netns: this.#hold(this.#file(netns), () => true), addresses: addresses.map(ip) };
  }

  stateOf(pod: NodePod): string | undefined {
    const state = this.pods.stateOf(pod.uid);
    return state && [state.state, state.reason].filter((part) => part !== undefined).join(': ');
  }

  [Symbol.dispose](): void {
    this.pods.close();
    rmSync(this.#directory, { recursive: true });
    if (this.held !== 0) throw new Error(`${this.held} namespaces are still held open`);
  }

  #file(name: string): string {
    const file = join(this.#directory, name);
    writeFileSync(file, '', { flag: 'a' });
    return file;
  }

  #hold(file: string, isCurrent: () => boolean): LocatedNetns {
    const fd = openSync(file, 'r');
    this.held++;
    let open = true;
    const close = (): void => {
      if (!open) return;
      open = false;
      this.held--;
      closeSync(fd);
    };
    return { path: `/proc/self/fd/${fd}`, isCurrent, close };
  }
}
