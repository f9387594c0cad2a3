import { describe, expect, it } from 'vitest';
import {
  applySettings,
  checkLocalSettings,
  initialRemoteSettings,
  type LocalSettings,
  writeSettings,
} from './settings.ts';

const LOCAL: LocalSettings = {
  initialWindowSize: 4_194_304,
  maxFrameSize: 1_048_576,
  maxConcurrentStreams: 200,
  maxHeaderListSize: 65_536,
};

function apply(hex: string, ownRole: 'client' | 'server' = 'server', current = initialRemoteSettings()) {
  const bytes = Buffer.from(`ee${hex.replaceAll(' ', '')}ee`, 'hex');
  return applySettings(current, { bytes, start: 1, end: bytes.length - 1 }, ownRole);
}

function written(settings: LocalSettings, role: 'client' | 'server'): string {
  const bytes = Buffer.alloc(128);
  return bytes.toString('hex', 5, writeSettings(settings, role, { bytes, at: 5 }));
}

describe('writeSettings()', () => {
  it("sends what Istio's ends of a tunnel send: a client no stream limit but push off, a server the limit", () => {
    expect(written(LOCAL, 'client')).toBe('000200000000000400400000000500100000000600010000');
    expect(written(LOCAL, 'server')).toBe('0003000000c8000400400000000500100000000600010000');
  });

  it('sends the table size if it is not the default, extended CONNECT only from a server', () => {
    const settings = { ...LOCAL, headerTableSize: 0, enableConnectProtocol: true };
    expect(written(settings, 'server')).toMatch(/^000100000000.*000800000001$/);
    expect(written(settings, 'client')).not.toContain('000800000001');
  });
});

describe('applySettings()', () => {
  it('takes the last of equal settings, ignores unknown ones, and caps at 2^31-1', () => {
    const next = apply(
      '0004 00000001 0004 00000002 7777 ffffffff 0003 ffffffff 0006 80000000 0001 ffffffff 0008 00000001',
    );
    expect(next).toMatchObject({
      received: true,
      initialWindowSize: 2,
      maxConcurrentStreams: 2 ** 31 - 1,
      maxHeaderListSize: 2 ** 31 - 1,
      headerTableSize: 2 ** 31 - 1,
      enableConnectProtocol: true,
    });
  });

  it.each([
    { what: 'ENABLE_PUSH 2', hex: '0002 00000002', code: 'PROTOCOL_ERROR' },
    { what: 'MAX_FRAME_SIZE 16383', hex: '0005 00003fff', code: 'PROTOCOL_ERROR' },
    { what: 'MAX_FRAME_SIZE 2^24', hex: '0005 01000000', code: 'PROTOCOL_ERROR' },
    { what: 'ENABLE_CONNECT_PROTOCOL 2', hex: '0008 00000002', code: 'PROTOCOL_ERROR' },
    {
      what: 'ENABLE_CONNECT_PROTOCOL taken back',
      hex: '0008 00000001 0008 00000000',
      code: 'PROTOCOL_ERROR',
    },
    { what: 'INITIAL_WINDOW_SIZE 2^31', hex: '0004 80000000', code: 'FLOW_CONTROL_ERROR' },
  ])('refuses $what', ({ hex, code }) => {
    expect(() => apply(hex)).toThrow(expect.objectContaining({ code }));
  });

  it('lets a client say ENABLE_PUSH 1, but not a server', () => {
    expect(apply('0002 00000001', 'server').received).toBe(true);
    expect(() => apply('0002 00000001', 'client')).toThrow(/ENABLE_PUSH 1/);
  });
});

describe('checkLocalSettings()', () => {
  it.each([
    { initialWindowSize: 2 ** 31 },
    { maxFrameSize: 16_383 },
    { maxFrameSize: 2 ** 24 },
    { maxConcurrentStreams: -1 },
    { maxHeaderListSize: 0 },
    { headerTableSize: 0.5 },
  ])('refuses %o', (wrong) => {
    expect(() => checkLocalSettings({ ...LOCAL, ...wrong })).toThrow(/is not within/);
  });
});
