import { beforeEach, describe, expect, it, vi } from 'vitest';
import { formatSpiffeId, type Identity } from '../model/spiffe-id.ts';
import { ManualClock } from '../runtime/clock.ts';
import { createLogger } from '../runtime/logger.ts';
import { CertificateError } from './certificate-error.ts';
import { CertificateManager, type CertificateManagerOptions } from './certificate-manager.ts';
import type { CertificateSigner, SignOptions } from './certificate-signer.ts';
import { TestCa } from './testing/test-ca.ts';
import type { WorkloadCertificate } from './workload-certificate.ts';

const logger = createLogger({ component: 'test', level: 'silent' });
const api = identity('api');
const hour = 3_600_000;
const day = 24 * hour;

let clock: ManualClock;
let ca: TestCa;
let signer: HeldSigner;
let manager: CertificateManager;

/** Holds every request until the test answers it. */
class HeldSigner implements CertificateSigner {
  readonly requests: {
    readonly options: SignOptions;
    answer: () => Promise<void>;
    fail: (error: Error) => void;
  }[] = [];
  lifeMs = day;
  notBeforeAgoMs = 0;

  sign(csrPem: string, options: SignOptions): Promise<readonly string[]> {
    return new Promise((resolve, reject) => {
      const answer = async () => {
        const notBefore = clock.now() - this.notBeforeAgoMs;
        resolve([await ca.leaf({ csrPem, lifeMs: this.lifeMs, notBefore }), ca.pem()]);
      };
      this.requests.push({ options, answer, fail: reject });
    });
  }

  /** The request number `index`, when it has come. */
  async request(index: number) {
    await vi.waitUntil(() => this.requests.length > index);
    return this.requests[index] as (typeof this.requests)[number];
  }
}

function identity(serviceAccount: string): Identity {
  return { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount };
}

function make(options: Partial<CertificateManagerOptions> = {}): CertificateManager {
  return new CertificateManager({ signer, clock, logger, random: () => 0.5, ...options });
}

async function available(who: Identity = api, serialNot?: string): Promise<WorkloadCertificate> {
  await expect
    .poll(() => manager.get(who)?.serial !== undefined && manager.get(who)?.serial !== serialNot)
    .toBe(true);
  return manager.get(who) as WorkloadCertificate;
}

async function failed(who: Identity = api): Promise<void> {
  const id = formatSpiffeId(who);
  await expect.poll(() => manager.state().find((state) => state.identity === id)?.error).toBeDefined();
}

/** Runs what is due and lets requests, which begin after a key was made, arrive if there are any. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

beforeEach(async () => {
  clock = new ManualClock(1_800_000_000_000);
  ca = await TestCa.create(clock);
  signer = new HeldSigner();
  manager = make();
  return () => manager.close();
});

describe('a wanted identity', () => {
  it('gets a certificate, asked for by name and life', async () => {
    manager.want(api);
    expect(manager.get(api)).toBeUndefined();
    expect(manager.state()).toEqual([{ identity: formatSpiffeId(api), state: 'initializing' }]);
    const request = await signer.request(0);
    expect(request.options).toMatchObject({ validitySeconds: 86_400, impersonate: formatSpiffeId(api) });
    await request.answer();
    const certificate = await available();
    expect(certificate).toMatchObject({
      identity: api,
      spiffeId: 'spiffe://cluster.local/ns/shop/sa/api',
      notAfter: clock.now() + day,
      rootsPem: ca.pem(),
      privateKeyPem: expect.stringContaining('BEGIN PRIVATE KEY'),
    });
    expect(structuredClone(certificate)).toEqual(certificate);
  });

  it('is asked for once, however many want it', async () => {
    for (let reference = 0; reference < 5; reference++) manager.want(api);
    await (await signer.request(0)).answer();
    await available();
    expect(signer.requests).toHaveLength(1);
    for (let reference = 0; reference < 4; reference++) manager.release(api);
    expect(manager.get(api)).toBeDefined();
    manager.release(api);
    expect(manager.get(api)).toBeUndefined();
    expect(manager.state()).toEqual([]);
  });

  it('is not renewed after the last reference went', async () => {
    manager.want(api);
    await (await signer.request(0)).answer();
    await available();
    manager.release(api);
    clock.advance(2 * day);
    await settle();
    expect(signer.requests).toHaveLength(1);
  });

  it('that is released while its request is under way changes nothing when the reply comes', async () => {
    const seen: WorkloadCertificate[] = [];
    manager.subscribe((certificate) => seen.push(certificate));
    manager.want(api);
    const first = await signer.request(0);
    manager.release(api);
    expect(first.options.signal?.aborted).toBe(true);
    manager.want(api);
    const second = await signer.request(1);
    await first.answer();
    await settle();
    expect(manager.get(api)).toBeUndefined();
    await second.answer();
    const { serial } = await available();
    expect(seen.map((certificate) => certificate.serial)).toEqual([serial]);
  });
});

describe('renewal', () => {
  it('comes at half life and swaps the certificate', async () => {
    manager.want(api);
    await (await signer.request(0)).answer();
    const { serial } = await available();
    clock.advance(12 * hour - 1);
    await settle();
    expect(signer.requests).toHaveLength(1);
    clock.advance(1);
    await (await signer.request(1)).answer();
    const renewed = await available(api, serial);
    expect(renewed.notAfter).toBe(clock.now() + day);
  });

  it.each([
    [0, 0.45],
    [0.999, 0.55],
  ])('is spread by jitter: random %d renews at %d of the life', async (random, share) => {
    manager.close();
    manager = make({ random: () => random });
    manager.want(api);
    await (await signer.request(0)).answer();
    await available();
    clock.advance(day * share - 60_000);
    await settle();
    expect(signer.requests).toHaveLength(1);
    clock.advance(120_000);
    await signer.request(1);
  });

  it('of a short certificate that is backdated as far as it lives has a pause before it', async () => {
    signer.lifeMs = 60_000;
    signer.notBeforeAgoMs = 60_000;
    manager.want(api);
    await (await signer.request(0)).answer();
    await available();
    clock.advance(29_000);
    await settle();
    expect(signer.requests).toHaveLength(1);
    clock.advance(1000);
    await signer.request(1);
  });

  it('of a certificate of one year does not overflow the timer', async () => {
    signer.lifeMs = 364 * day;
    manager.want(api);
    await (await signer.request(0)).answer();
    await available();
    clock.advance(100 * day);
    await settle();
    expect(signer.requests).toHaveLength(1);
    clock.advance(82 * day);
    await signer.request(1);
  });

  it('that fails keeps the old certificate until it expires, and no longer', async () => {
    manager.want(api);
    await (await signer.request(0)).answer();
    const { serial } = await available();
    clock.advance(12 * hour);
    (await signer.request(1)).fail(new CertificateError('signer-unavailable', 'No controller'));
    await failed();
    expect(manager.get(api)?.serial).toBe(serial);
    expect(manager.state()[0]).toMatchObject({
      state: 'available',
      error: { code: 'signer-unavailable' },
      serial,
    });
    clock.advance(12 * hour - 1);
    expect(manager.get(api)?.serial).toBe(serial);
    clock.advance(1);
    expect(manager.get(api)).toBeUndefined();
    expect(manager.state()[0]).toMatchObject({ state: 'failed', serial });
  });
});

describe('failure', () => {
  it('is retried after 1 s, doubling to 150 s, less up to 20 %', async () => {
    manager.want(api);
    for (const [index, seconds] of [1, 2, 4, 8, 16, 32, 64, 128, 150, 150].entries()) {
      (await signer.request(index)).fail(new CertificateError('signer-refused', 'No'));
      await settle();
      clock.advance(seconds * 900 - 1);
      await settle();
      expect(signer.requests).toHaveLength(index + 1);
      clock.advance(1);
    }
    await (await signer.request(10)).answer();
    await available();
    expect(manager.state()[0]).not.toHaveProperty('error');
  });

  it('of one identity does not hold up another', async () => {
    manager.want(api);
    manager.want(identity('web'));
    (await signer.request(0)).fail(new Error('broken'));
    await (await signer.request(1)).answer();
    await available(identity('web'));
    expect(manager.state().map(({ state, error }) => [state, error?.code])).toEqual([
      ['failed', 'internal'],
      ['available', undefined],
    ]);
  });

  it('is a reply for somebody else', async () => {
    const wrong: CertificateSigner = {
      sign: async (csrPem) => [
        await ca.leaf({ csrPem, lifeMs: day, uris: ['spiffe://cluster.local/ns/x/sa/y'] }),
        ca.pem(),
      ],
    };
    manager.close();
    manager = make({ signer: wrong });
    manager.want(api);
    await failed();
    expect(manager.get(api)).toBeUndefined();
    expect(manager.state()[0]).toMatchObject({ state: 'failed', error: { code: 'reply-mismatch' } });
  });
});

describe('many identities', () => {
  it('are asked for eight at a time', async () => {
    for (let index = 0; index < 20; index++) manager.want(identity(`sa-${index}`));
    await signer.request(7);
    await settle();
    expect(signer.requests).toHaveLength(8);
    for (let index = 0; index < 20; index++) {
      await (await signer.request(index)).answer();
      expect(signer.requests.length).toBeLessThanOrEqual(index + 9);
    }
    await expect.poll(() => manager.state().filter(({ state }) => state === 'available')).toHaveLength(20);
  });

  it('without a certificate go before renewals', async () => {
    manager.close();
    manager = make({ maxParallel: 1 });
    manager.want(identity('a'));
    await (await signer.request(0)).answer();
    await available(identity('a'));
    manager.want(identity('b'));
    await signer.request(1);
    clock.advance(12 * hour);
    manager.want(identity('c'));
    (await signer.request(1)).fail(new Error('later'));
    expect((await signer.request(2)).options.impersonate).toBe(formatSpiffeId(identity('c')));
  });
});

describe('subscribe()', () => {
  it('tells what is there at once, then every new certificate, until it is stopped', async () => {
    manager.want(api);
    await (await signer.request(0)).answer();
    const first = await available();
    const seen: string[] = [];
    const stop = manager.subscribe(({ serial }) => seen.push(serial));
    expect(seen).toEqual([first.serial]);
    clock.advance(12 * hour);
    await (await signer.request(1)).answer();
    const second = await available(api, first.serial);
    expect(seen).toEqual([first.serial, second.serial]);
    stop();
    clock.advance(12 * hour);
    await (await signer.request(2)).answer();
    await available(api, second.serial);
    expect(seen).toHaveLength(2);
  });

  it('shields the others from a listener that throws', async () => {
    const seen: string[] = [];
    manager.subscribe(() => {
      throw new Error('listener');
    });
    manager.subscribe(({ serial }) => seen.push(serial));
    manager.want(api);
    await (await signer.request(0)).answer();
    const { serial } = await available();
    expect(seen).toEqual([serial]);
  });
});

it('state() holds the chain and the roots but never the private key', async () => {
  manager.want(api);
  await (await signer.request(0)).answer();
  const { chainPem } = await available();
  expect(manager.state()[0]).toMatchObject({ chainPem, rootsPem: ca.pem() });
  expect(JSON.stringify(manager.state())).not.toContain('PRIVATE KEY');
});

it('close() stops everything, and wanting afterwards is an error', async () => {
  manager.want(api);
  const request = await signer.request(0);
  manager.close();
  expect(request.options.signal?.aborted).toBe(true);
  clock.advance(day);
  await settle();
  expect(signer.requests).toHaveLength(1);
  expect(() => manager.want(api)).toThrow('closed');
});
