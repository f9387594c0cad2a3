import { describe, expect, it } from 'vitest';
import { IoError } from '../mesh/io/io-error.ts';
import { ECONNREFUSED } from '../mesh/io/libc.ts';
import { HboneError, type HboneErrorCode } from '../mesh/hbone/hbone-error.ts';
import { dialErrorOf, flagOf } from './dial-error.ts';

function dialError(code: HboneErrorCode, { reused = false, retryable = true } = {}) {
  return dialErrorOf(new HboneError(code, 'Failed', { retryable }), { reused });
}

describe('flagOf()', () => {
  it.each([
    ['denied', 'DENY'],
    ['tls-failed', 'TLS_FAILURE'],
    ['identity-rejected', 'IDENTITY_ERROR'],
    ['connect-failed', 'CONNECT'],
    ['tunnel-lost', 'H2_HANDSHAKE_FAILURE'],
    ['tunnel-full', 'H2_HANDSHAKE_FAILURE'],
    ['cancelled', 'H2_HANDSHAKE_FAILURE'],
  ] as const)('says of %s: %s', (code, flag) => expect(flagOf(dialError(code))).toBe(flag));

  it('says CONNECT when the destination node could not reach the application, for the tunnel is well', () => {
    expect(flagOf(dialError('refused'))).toBe('CONNECT');
  });
});

describe('dialErrorOf()', () => {
  it('is stale only when a tunnel of the pool broke', () => {
    expect(dialError('tunnel-lost', { reused: true }).stale).toBe(true);
    expect(dialError('tunnel-lost').stale).toBe(false);
    expect(dialError('refused', { reused: true }).stale).toBe(false);
  });

  it('tells an answer of the other side from a tunnel that never came to one', () => {
    expect(dialError('refused').answered).toBe(true);
    expect(dialError('denied').answered).toBe(true);
    for (const code of ['connect-failed', 'tls-failed', 'identity-rejected', 'tunnel-lost'] as const)
      expect(dialError(code).answered).toBe(false);
  });

  it('hands on that a waypoint is required', () => {
    const told = new HboneError('denied', 'Failed', { retryable: false, waypointRequired: true });
    expect(dialErrorOf(told, { reused: false }).waypointRequired).toBe(true);
    expect(dialError('denied').waypointRequired).toBe(false);
  });

  it('tells a node tunnel that is away from a workload that can not be reached', () => {
    const failed = (errno: number) =>
      new HboneError('connect-failed', 'Failed', {
        retryable: true,
        cause: new IoError('connect-failed', 'Failed', { errno }),
      });
    expect(dialErrorOf(failed(ECONNREFUSED), { reused: false }).away).toBe(true);
    expect(dialErrorOf(failed(ECONNREFUSED + 1), { reused: false }).away).toBe(false);
    expect(dialError('connect-failed').away).toBe(false);
  });

  it('hands on whether another endpoint may be tried', () => {
    expect(dialError('connect-failed').retryable).toBe(true);
    expect(dialError('denied', { retryable: false }).retryable).toBe(false);
  });
});
