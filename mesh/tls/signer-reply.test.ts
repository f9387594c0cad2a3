import { beforeAll, describe, expect, it } from 'vitest';
import { formatSpiffeId } from '../model/spiffe-id.ts';
import { ManualClock } from '../runtime/clock.ts';
import { type CertificateRequest, createCsr } from './csr.ts';
import { checkReply, type ReplyExpectation, splitChain } from './signer-reply.ts';
import { TestCa } from './testing/test-ca.ts';

const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'api' };
const spiffeId = formatSpiffeId(identity);
const clock = new ManualClock(1_800_000_000_000);
const lifeMs = 60_000;
let root: TestCa;
let stranger: TestCa;
let request: CertificateRequest;
let csrPem: string;
let expected: ReplyExpectation;

beforeAll(async () => {
  root = await TestCa.create(clock, { name: 'CN=root' });
  stranger = await TestCa.create(clock, { name: 'CN=root' });
  request = await createCsr(identity);
  ({ csrPem } = request);
  expected = { spiffeId, publicKeyDer: request.publicKeyDer, now: clock.now() };
});

function check(...entries: string[]) {
  return () => checkReply(entries, expected);
}

function refused(code: string) {
  return expect.objectContaining({ name: 'CertificateError', code });
}

describe('checkReply()', () => {
  it('takes a leaf and its root', async () => {
    const leaf = await root.leaf({ csrPem, lifeMs });
    const reply = checkReply([leaf, root.pem()], expected);
    expect(reply).toMatchObject({ chainPem: leaf, rootsPem: root.pem() });
    expect(reply.leaf.notAfter).toBe(clock.now() + lifeMs);
  });

  it('takes intermediates and several roots, whichever of them signed', async () => {
    const intermediate = await TestCa.create(clock, { name: 'CN=intermediate', issuer: root });
    const leaf = await intermediate.leaf({ csrPem, lifeMs });
    const roots = stranger.pem() + root.pem();
    const reply = checkReply([leaf, intermediate.pem(), roots], expected);
    expect(reply).toMatchObject({ chainPem: leaf + intermediate.pem(), rootsPem: roots });
  });

  it('refuses a reply without roots', async () => {
    expect(check(await root.leaf({ csrPem, lifeMs }))).toThrow(refused('reply-malformed'));
    expect(check()).toThrow(refused('reply-malformed'));
  });

  it('refuses a last entry that is no CA, and a leaf that is one', async () => {
    const leaf = await root.leaf({ csrPem, lifeMs });
    expect(check(leaf, leaf)).toThrow(refused('reply-malformed'));
    expect(check(await root.leaf({ csrPem, lifeMs, ca: true }), root.pem())).toThrow(
      refused('reply-malformed'),
    );
  });

  it('refuses two certificates in one entry of the chain', async () => {
    const leaf = await root.leaf({ csrPem, lifeMs });
    expect(check(leaf + leaf, root.pem())).toThrow(refused('pem-malformed'));
  });

  it('refuses another identity as the first, also when the asked one follows', async () => {
    const admin = 'spiffe://cluster.local/ns/shop/sa/admin';
    for (const uris of [[admin], [admin, spiffeId], ['https://x', spiffeId]]) {
      const leaf = await root.leaf({ csrPem, lifeMs, uris });
      expect(check(leaf, root.pem())).toThrow(refused('reply-mismatch'));
    }
  });

  it('refuses a certificate for another key', async () => {
    const other = await createCsr(identity);
    const leaf = await root.leaf({ csrPem: other.csrPem, lifeMs });
    expect(check(leaf, root.pem())).toThrow('for another key');
  });

  it('refuses an expired leaf and one that begins later than clocks differ', async () => {
    expect(check(await root.leaf({ csrPem, lifeMs: 0, notBefore: clock.now() - 5000 }), root.pem())).toThrow(
      refused('reply-out-of-date'),
    );
    const notBefore = clock.now() + 61_000;
    expect(check(await root.leaf({ csrPem, lifeMs: 120_000, notBefore }), root.pem())).toThrow(
      refused('reply-out-of-date'),
    );
  });

  it('refuses a leaf that no root of the reply signed, even one of the same name', async () => {
    const leaf = await root.leaf({ csrPem, lifeMs });
    expect(check(leaf, stranger.pem())).toThrow(refused('reply-untrusted'));
  });

  it('refuses an intermediate that did not sign the leaf', async () => {
    const intermediate = await TestCa.create(clock, { name: 'CN=root', issuer: stranger });
    const leaf = await root.leaf({ csrPem, lifeMs });
    expect(check(leaf, intermediate.pem(), stranger.pem())).toThrow(refused('reply-untrusted'));
  });

  it('refuses garbage in any place', async () => {
    const leaf = await root.leaf({ csrPem, lifeMs });
    expect(check('garbage', root.pem())).toThrow(refused('pem-malformed'));
    expect(check(leaf, 'garbage')).toThrow(refused('pem-malformed'));
  });
});

it('splitChain() refuses a flood of entries', () => {
  expect(() => splitChain(Array.from({ length: 17 }, () => root.pem()))).toThrow('more than 16 entries');
});
