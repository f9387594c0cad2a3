import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nameserversOf, parseNameservers } from './resolv-conf.ts';

describe('parseNameservers()', () => {
  it('takes the first three different addresses and nothing else', () => {
    const text = [
      '# nameserver 9.9.9.9',
      'search shop.svc.cluster.local',
      'nameserver\t10.0.0.53',
      ' nameserver 10.0.0.53 ',
      'nameserver fd00::0053',
      'nameserver fe80::1%eth0',
      'nameserver example.com',
      'nameserver 10.0.0.54',
      'nameserver 10.0.0.55',
    ].join('\n');
    expect(parseNameservers(text)).toEqual(['10.0.0.53', 'fd00::53', '10.0.0.54']);
    expect(parseNameservers('')).toEqual([]);
  });
});

describe('nameserversOf()', () => {
  let etc: string;
  beforeEach(() => {
    etc = mkdtempSync(join(tmpdir(), 'weft-etc-'));
  });
  afterEach(() => rmSync(etc, { recursive: true }));

  it('prefers the file of the namespace, then the machine, then has none', () => {
    expect(nameserversOf('/run/netns/web-1', { etc })).toEqual([]);
    writeFileSync(join(etc, 'resolv.conf'), 'nameserver 10.0.0.1\n');
    expect(nameserversOf('/run/netns/web-1', { etc })).toEqual(['10.0.0.1']);
    mkdirSync(join(etc, 'netns', 'web-1'), { recursive: true });
    writeFileSync(join(etc, 'netns', 'web-1', 'resolv.conf'), 'nameserver 10.0.0.2\n');
    expect(nameserversOf('/run/netns/web-1', { etc })).toEqual(['10.0.0.2']);
  });
});
