import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { IpAddress } from '../../mesh/model/ip-address.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { CertificateAuthority } from './certificate-authority.ts';
import { ServerCertificate, type ServerCertificateOptions } from './server-certificate.ts';

const logger = createLogger({ component: 'test', level: 'silent' });
const hour = 3_600_000;

let clock: ManualClock;
let authority: CertificateAuthority;

beforeEach(async () => {
  const stateDir = await mkdtemp(join(tmpdir(), 'weft-server-'));
  clock = new ManualClock(1_800_000_000_000);
  authority = await CertificateAuthority.open({ stateDir, clock, logger });
  return async () => {
    authority.close();
    await rm(stateDir, { recursive: true });
  };
});

async function open(options: Partial<ServerCertificateOptions> = {}): Promise<ServerCertificate> {
  return await ServerCertificate.open({
    authority,
    clock,
    logger,
    dnsNames: ['localhost', 'weft-controller.weft-system.svc'],
    ipAddresses: ['127.0.0.1', '2001:db8::1'] as IpAddress[],
    ...options,
  });
}

function serials(certificate: ServerCertificate): string[] {
  const seen: string[] = [];
  certificate.subscribe(({ serial }) => seen.push(serial));
  return seen;
}

describe('the server certificate', () => {
  it('carries names and addresses for a server only, signed by the root', async () => {
    const server = await open();
    const certificate = new X509Certificate(server.current().chainPem);
    expect(certificate.subjectAltName).toBe(
      'DNS:localhost, DNS:weft-controller.weft-system.svc, IP Address:127.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1',
    );
    expect(certificate.checkHost('localhost')).toBe('localhost');
    expect(certificate.checkIP('2001:db8::1')).toBe('2001:db8::1');
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    const root = new X509Certificate(authority.rootsPem());
    expect(certificate.checkIssued(root) && certificate.verify(root.publicKey)).toBe(true);
    server.close();
  });

  it('is renewed at half life with a fresh key', async () => {
    const server = await open();
    const first = server.current();
    const seen = serials(server);
    clock.advance(12 * hour - 1);
    clock.advance(1);
    await expect.poll(() => seen).toHaveLength(2);
    expect(server.current().privateKeyPem).not.toBe(first.privateKeyPem);
    expect(server.current().notAfter).toBe(first.notAfter + 12 * hour);
    server.close();
  });

  it('comes from the new root as soon as that signs', async () => {
    const server = await open();
    const seen = serials(server);
    await authority.startRotation();
    await expect.poll(() => seen).toHaveLength(2);
    await authority.advanceRotation({ force: true });
    await expect.poll(() => seen).toHaveLength(3);
    const [signing = ''] = authority.rootsPem().split(/(?<=END CERTIFICATE-----\n)/);
    const root = new X509Certificate(signing);
    expect(new X509Certificate(server.current().chainPem).verify(root.publicKey)).toBe(true);
    server.close();
  });

  it('does not make a rotation wait', async () => {
    const server = await open();
    await authority.startRotation();
    expect((await authority.advanceRotation()).phase).toBe('active');
    server.close();
  });

  it('is not renewed after close()', async () => {
    const server = await open();
    const seen = serials(server);
    server.close();
    clock.advance(24 * hour);
    await authority.startRotation();
    expect(seen).toHaveLength(1);
  });

  it.each([
    [{ dnsNames: [], ipAddresses: [] }],
    [{ dnsNames: ['a b'] }],
    [{ dnsNames: ['a..b'] }],
    [{ dnsNames: [`${'a'.repeat(200)}!`] }],
  ])('refuses %o', async (names) => {
    await expect(open(names)).rejects.toThrow(RangeError);
  });
});
