import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cleanFileMappings } from './resident-memory.ts';

const mapping = (range: string, access: string, path: string, anonymous: number): string =>
  `${range} ${access} 00001000 fe:00 5325947                  ${path}\nSize:  8 kB\nAnonymous:         ${anonymous} kB\nVmFlags: rd\n`;

describe('cleanFileMappings()', () => {
  it('takes the text and constants of program and libraries, nothing private and nothing without a file', () => {
    const smaps = [
      mapping('00400000-00402000', 'r--p', '/opt/node', 0),
      mapping('00402000-00408000', 'r-xp', '/opt/node', 0),
      mapping('00408000-0040a000', 'r--p', '/opt/node', 8),
      mapping('0040a000-0040c000', 'rw-p', '/opt/node', 0),
      mapping('7f0000000000-7f0000002000', 'r-xp', '/usr/lib/libc.so.6', 0),
      mapping('7f0000004000-7f0000006000', 'rw-p', '', 0),
      mapping('7f0000006000-7f0000008000', 'r--p', '', 0),
      mapping('7f0000008000-7f000000a000', 'r--s', 'anon_inode:bpf-map', 0),
    ].join('');
    expect(cleanFileMappings(smaps)).toEqual([
      { address: 0x400000, length: 0x2000 },
      { address: 0x402000, length: 0x6000 },
      { address: 0x7f0000000000, length: 0x2000 },
    ]);
  });
});

it('releaseStartupMemory() leaves a program that works, with less resident memory', () => {
  const program = `
    import { createHash } from 'node:crypto';
    import { releaseStartupMemory } from '${join(import.meta.dirname, 'resident-memory.ts')}';
    const before = process.memoryUsage.rss();
    releaseStartupMemory();
    const after = process.memoryUsage.rss();
    const sum = createHash('sha256').update('x').digest('hex');
    new RegExp('a+').exec('a'.repeat(10));
    console.log(JSON.stringify({ smaller: after < before, sum, date: new Date(0).toISOString() }));`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  expect(JSON.parse(output)).toEqual({
    smaller: true,
    sum: '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881',
    date: '1970-01-01T00:00:00.000Z',
  });
});
