import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Identity } from '../../mesh/model/spiffe-id.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { createCsr } from '../../mesh/tls/csr.ts';
import { checkReply } from '../../mesh/tls/signer-reply.ts';
import { parseCertificate } from '../../mesh/tls/certificate.ts';
import { KubeError } from '../kubernetes/kube-error.ts';
import { CertificateAuthority } from './certificate-authority.ts';
import { DirectoryIssuer, type IssuerSource, SecretIssuer } from './given-issuer.ts';
import { type KeyKind, makeCa, type TestCa } from './testing/test-ca.ts';

const identity: Identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'api' };
const logger = createLogger({ component: 'test', level: 'silent' });

let directory: string;
let clock: ManualClock;
const opened: CertificateAuthority[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-given-'));
  clock = new ManualClock(1_800_000_000_000);
});

afterEach(async () => {
  for (const authority of opened.splice(0)) authority.close();
  await rm(directory, { recursive: true });
});

async function open(given: IssuerSource): Promise<CertificateAuthority> {
  const authority = await CertificateAuthority.open({
    stateDir: join(directory, 'state'),
    clock,
    logger,
    given,
  });
  opened.push(authority);
  return authority;
}

/** What a node would take from the answer; throws as it would. */
async function issue(authority: CertificateAuthority) {
  const { csrPem, publicKeyDer } = await createCsr(identity);
  const { entries } = await authority.sign(csrPem, { identity });
  const spiffeId = parseCertificate(entries[0] as string).uris[0] as never;
  return checkReply(entries, { spiffeId, publicKeyDer, now: clock.now() });
}

function istioForm({ certificatePem, privateKeyPem, rootPem }: TestCa): Record<string, string> {
  return {
    'ca-cert.pem': certificatePem,
    'ca-key.pem': privateKeyPem,
    'root-cert.pem': rootPem,
    'cert-chain.pem': certificatePem + rootPem,
  };
}

function certManagerForm({ certificatePem, privateKeyPem, rootPem }: TestCa): Record<string, string> {
  return { 'tls.crt': certificatePem, 'tls.key': privateKeyPem, 'ca.crt': rootPem };
}

/** A Secret as the API server gives it; undefined: there is none. */
function secretIssuer(data: () => Record<string, string> | undefined): SecretIssuer {
  const request = async <T>({ path }: { path: string }): Promise<T> => {
    expect(path).toBe('/api/v1/namespaces/weft-system/secrets/cacerts');
    const files = data();
    if (files === undefined) throw new KubeError('NOT_FOUND', 'secrets "cacerts" not found');
    const encoded = Object.entries(files).map(([name, text]) => [name, Buffer.from(text).toString('base64')]);
    return { data: Object.fromEntries(encoded) } as T;
  };
  return new SecretIssuer({ request }, { namespace: 'weft-system', name: 'cacerts' });
}

describe('a given CA', () => {
  it.each<[string, KeyKind, (ca: TestCa) => Record<string, string>]>([
    ["P-256 in Istio's form", 'P-256', istioForm],
    ["P-384 in Istio's form", 'P-384', istioForm],
    ["RSA in Istio's form", 'RSA', istioForm],
    ['P-256 as cert-manager writes it', 'P-256', certManagerForm],
    ['RSA as cert-manager writes it', 'RSA', certManagerForm],
  ])('signs with an intermediate of %s, and nodes trust its root alone', async (_, keyKind, form) => {
    const ca = await makeCa({ now: clock.now(), keyKind });
    const { chainPem, rootsPem } = await issue(await open(secretIssuer(() => form(ca))));
    const [leaf, intermediate] = chainPem
      .split(/(?<=-----END CERTIFICATE-----\n)/)
      .map((pem) => new X509Certificate(pem));
    expect(intermediate?.fingerprint256).toBe(new X509Certificate(ca.certificatePem).fingerprint256);
    expect(leaf?.verify((intermediate as X509Certificate).publicKey)).toBe(true);
    expect(rootsPem).toBe(ca.rootPem);
  });

  it('is made by the mesh itself where none was given', async () => {
    const authority = await open(secretIssuer(() => undefined));
    expect(authority.rotation().givenBy).toBeUndefined();
    await issue(authority);
  });

  it('takes over at once when it is renewed under the same root', async () => {
    const first = await makeCa({ now: clock.now() });
    let ca = first;
    const authority = await open(secretIssuer(() => certManagerForm(ca)));
    await issue(authority);
    ca = await makeCa({ now: clock.now(), root: first });
    await authority.refresh();
    expect(authority.rotation()).toMatchObject({ phase: 'stable', givenBy: 'secret weft-system/cacerts' });
    const { chainPem, rootsPem } = await issue(authority);
    expect(chainPem).toContain(ca.certificatePem);
    expect(rootsPem).toBe(first.rootPem);
  });

  it('takes the way of a rotation when its root is another one: both are trusted before it signs', async () => {
    const first = await makeCa({ now: clock.now() });
    const second = await makeCa({ now: clock.now() });
    let ca = first;
    const authority = await open(secretIssuer(() => istioForm(ca)));
    await issue(authority);
    ca = second;
    await authority.refresh();
    expect(authority.rotation().phase).toBe('prepare');
    const during = await issue(authority);
    expect(during.chainPem).toContain(first.certificatePem);
    expect(during.rootsPem).toBe(first.rootPem + second.rootPem);
    await authority.advanceRotation({ force: true });
    const active = await issue(authority);
    expect(active.chainPem).toContain(second.certificatePem);
    expect(active.rootsPem).toBe(second.rootPem + first.rootPem);
    await authority.advanceRotation({ force: true });
    await authority.refresh();
    expect((await issue(authority)).rootsPem).toBe(second.rootPem);
  });

  it('replaces a root the mesh made, by a rotation', async () => {
    const secret: { files?: Record<string, string> } = {};
    const authority = await open(secretIssuer(() => secret.files));
    const own = authority.rootsPem();
    const ca = await makeCa({ now: clock.now() });
    secret.files = istioForm(ca);
    await authority.refresh();
    expect(authority.rotation().phase).toBe('prepare');
    expect(authority.rootsPem()).toBe(own + ca.rootPem);
  });

  it('stays in force when the Secret goes or can not be used any more', async () => {
    const ca = await makeCa({ now: clock.now() });
    let files: Record<string, string> | undefined = istioForm(ca);
    const authority = await open(secretIssuer(() => files));
    files = undefined;
    await authority.refresh();
    files = { ...istioForm(ca), 'ca-key.pem': 'nonsense' };
    await expect(authority.refresh()).rejects.toMatchObject({ code: 'issuer-unusable' });
    expect((await issue(authority)).rootsPem).toBe(ca.rootPem);
  });

  it('is not rotated by the mesh', async () => {
    const ca = await makeCa({ now: clock.now() });
    const authority = await open(secretIssuer(() => istioForm(ca)));
    await expect(authority.startRotation()).rejects.toThrow(
      /given by secret weft-system\/cacerts; put the next one there/,
    );
  });

  it('is read from a directory too', async () => {
    const ca = await makeCa({ now: clock.now() });
    for (const [name, text] of Object.entries(istioForm(ca)))
      await writeFile(join(directory, name), text, { mode: 0o600 });
    const { rootsPem } = await issue(await open(new DirectoryIssuer(directory)));
    expect(rootsPem).toBe(ca.rootPem);
  });

  it.each<[string, (ca: TestCa, other: TestCa) => Record<string, string>, RegExp]>([
    ['without a key', (ca) => ({ ...istioForm(ca), 'ca-key.pem': '' }), /can not be used/],
    [
      'with the key of another',
      (ca, other) => ({ ...istioForm(ca), 'ca-key.pem': other.privateKeyPem }),
      /not the key of/,
    ],
    [
      'of another root',
      (ca, other) => ({ ...certManagerForm(ca), 'ca.crt': other.rootPem }),
      /does not lead to the root/,
    ],
    ['that is a leaf', (ca) => certManagerForm({ ...ca, ...ca.leaf }), /is not a CA certificate/],
    ['that is not PEM', (ca) => ({ ...istioForm(ca), 'root-cert.pem': 'nonsense' }), /PEM/],
  ])('%s is refused, with the place and without a word of the key', async (_, files, message) => {
    const [ca, other] = [await makeCa({ now: clock.now() }), await makeCa({ now: clock.now() })];
    const error = await open(secretIssuer(() => files(ca, other))).catch(
      (reason: unknown) => reason as Error,
    );
    expect(error).toMatchObject({ code: 'issuer-unusable' });
    expect((error as Error).message).toContain('secret weft-system/cacerts');
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).not.toContain('PRIVATE');
  });

  it('lacking a file is refused by its name', async () => {
    const { 'ca.crt': _, ...files } = certManagerForm(await makeCa({ now: clock.now() }));
    await expect(open(secretIssuer(() => files))).rejects.toThrow(/it has "tls.crt" but no "ca.crt"/);
  });
});
