// The roots of a mesh that runs, changed under load: an operator puts a CA of their own into the cluster, and one rotates
// the mesh's own root, while nodes ask two replicas for certificates. What must hold all the time is what a handshake
// needs: whoever renews at half of a certificate's life can verify whoever does the same.

import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../cli/run-cli.ts';
import { makeCa, type TestCa } from '../../controller/ca/testing/test-ca.ts';
import type { ControllerProcess } from './controller-process.ts';
import { TestMesh } from './test-mesh.ts';

const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };
/** Seconds. Renewal is at half of it. */
const life = 12;
const wait = { timeout: 90_000, interval: 250 };

let mesh: TestMesh;
beforeAll(async () => {
  mesh = await TestMesh.open({ replicas: 2, flags: [`--certificate-life=${life}`] });
});
afterAll(async () => {
  await mesh.close();
});

interface Issued {
  /** Monotonic ms at which it was asked for. */
  readonly at: number;
  readonly replica: number;
  readonly chain: readonly X509Certificate[];
  readonly roots: readonly X509Certificate[];
}

/** Asks every replica all the time, until it is told to stop. */
class Load {
  readonly issued: Issued[] = [];
  readonly failures: string[] = [];
  #stopped = false;
  readonly #workers: readonly Promise<void>[];

  constructor() {
    this.#workers = [0, 1, 0, 1].map((replica) => this.#work(replica));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#workers);
  }

  async #work(replica: number): Promise<void> {
    while (!this.#stopped) {
      const at = performance.now();
      try {
        const entries = await mesh.nodes[replica]?.sign(identity);
        const certificates = (entries ?? []).map(split);
        const roots = certificates.pop() ?? [];
        this.issued.push({ at, replica, chain: certificates.flat(), roots });
      } catch (error) {
        this.failures.push(String(error));
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function split(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** As a TLS stack does: from the leaf over what came with it to a root that is trusted. */
function verifies({ chain }: Issued, { roots }: Issued): boolean {
  let [at] = chain;
  for (let depth = 0; at !== undefined && depth < 4; depth++) {
    const current = at;
    if (roots.some((root) => current.checkIssued(root) && current.verify(root.publicKey))) return true;
    at = chain.slice(1).find((one) => current.checkIssued(one) && current.verify(one.publicKey));
  }
  return false;
}

/** Pairs of certificates that are in use at one time, of which one side would refuse the other. */
function failedHandshakes(issued: readonly Issued[]): string[] {
  const failed: string[] = [];
  // Every tenth is as good as all, and a hundred times quicker.
  const sample = issued.filter((_one, index) => index % 10 === 0);
  for (const one of sample) {
    for (const other of sample) {
      if (Math.abs(one.at - other.at) > (life * 1000) / 2) continue;
      if (!verifies(one, other)) failed.push(`${one.replica}@${one.at} to ${other.replica}@${other.at}`);
    }
  }
  return failed;
}

interface RootsPage {
  readonly phase: string;
  readonly trusted: readonly string[];
  readonly signing: string;
}

async function rootsInUse(): Promise<readonly RootsPage[]> {
  const page = async (controller: ControllerProcess): Promise<RootsPage> =>
    await controller.page('/certificates');
  return await Promise.all(mesh.controllers.map(page));
}

async function weft(...args: readonly string[]): Promise<string> {
  let text = '';
  const output = { out: (part: string) => (text += part), err: (part: string) => (text += part) };
  const status = await runCli(args, output);
  expect({ status, text }).toMatchObject({ status: 0 });
  return text;
}

/** Every replica has gone on to a single root, another than before. */
async function expectRotated(from: string): Promise<void> {
  const single = async () =>
    (await rootsInUse()).map(({ phase, signing }) => `${phase} ${signing === from ? 'old' : 'new'}`);
  await expect.poll(single, wait).toEqual(['stable new', 'stable new']);
}

async function putSecret(ca: TestCa): Promise<void> {
  const data = {
    'ca-cert.pem': ca.certificatePem,
    'ca-key.pem': ca.privateKeyPem,
    'cert-chain.pem': ca.certificatePem,
    'root-cert.pem': ca.rootPem,
  };
  await mesh.writer.put({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'cacerts', namespace: 'weft-system' },
    stringData: data,
  });
}

describe('with two replicas under load', () => {
  it('the root rotates, and no handshake would fail at any moment', async () => {
    const [{ signing: before } = { signing: '' }] = await rootsInUse();
    const load = new Load();
    const [first] = mesh.controllers;
    const admin = `http://127.0.0.1:${first?.adminPort}`;
    await weft('ca', 'rotate', '--admin', admin, '--state', first?.state ?? '');
    await expectRotated(before);
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(load.issued.length).toBeGreaterThan(100);
    expect(new Set(load.issued.map(({ roots }) => roots.length))).toEqual(new Set([1, 2]));
    expect(failedHandshakes(load.issued)).toEqual([]);
    expect(mesh.nodes.flatMap(({ lost }) => lost)).toEqual([]);
  }, 180_000);

  it('a CA that is put into the Secret cacerts takes over by itself, and `weft ca status` says whose it is', async () => {
    const [{ signing: before } = { signing: '' }] = await rootsInUse();
    const load = new Load();
    const ca = await makeCa({ now: Date.now() });
    await putSecret(ca);
    await expectRotated(before);
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(failedHandshakes(load.issued)).toEqual([]);
    const last = load.issued.at(-1) as Issued;
    expect(last.roots.map((root) => root.subject)).toEqual([ca.rootName]);
    for (const controller of mesh.controllers) {
      const shown = await weft('ca', 'status', '--admin', `http://127.0.0.1:${controller.adminPort}`);
      expect(shown).toContain('secret weft-system/cacerts');
    }
    const said = await Promise.all(mesh.controllers.map((one) => one.linesWith('given CA taken over')));
    // The replica that saw it first; the others follow what that one wrote.
    expect(said.flat()).not.toEqual([]);
  }, 180_000);

  it('one that cannot sign is told and changes nothing, and the next good one counts', async () => {
    const [{ signing: before } = { signing: '' }] = await rootsInUse();
    const other = await makeCa({ now: Date.now() });
    const broken = await makeCa({ now: Date.now() });
    await putSecret({ ...other, privateKeyPem: broken.privateKeyPem });
    const told = async () => await mesh.controller.linesWith('can not be used');
    await expect.poll(told, wait).not.toEqual([]);
    expect((await rootsInUse()).map(({ signing }) => signing)).toEqual([before, before]);
    expect((await mesh.node.sign(identity))[0]).toContain('BEGIN CERTIFICATE');
    await putSecret(other);
    await expectRotated(before);
    expect(mesh.nodes.flatMap(({ lost }) => lost)).toEqual([]);
  }, 180_000);
});
