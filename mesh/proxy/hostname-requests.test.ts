import { describe, expect, it } from 'vitest';
import { ip } from '../model/fixture.ts';
import type { HostnameAnswer } from './hostname-lookups.ts';
import { chooseAddress, HostnameRequests } from './hostname-requests.ts';

const answer: HostnameAnswer = { kind: 'addresses', addresses: [ip('192.0.2.1')] };

describe('HostnameRequests', () => {
  it('asks once for a name that several wait for, and calls each of them back once', () => {
    const asked: string[] = [];
    const got: string[] = [];
    const requests = new HostnameRequests((hostname) => asked.push(hostname));
    requests.request('db.example', () => got.push('first'));
    requests.request('db.example', () => got.push('second'));
    expect(asked).toEqual(['db.example']);
    requests.answer('db.example', answer);
    requests.answer('db.example', answer);
    expect(got).toEqual(['first', 'second']);
  });

  it('does not call back who has cancelled', () => {
    const requests = new HostnameRequests(() => {});
    const pending = requests.request('db.example', () => expect.unreachable());
    pending.cancel();
    pending.cancel();
    requests.answer('db.example', answer);
  });

  it('asks again for who comes back from inside the answer', () => {
    const asked: string[] = [];
    const requests = new HostnameRequests((hostname) => asked.push(hostname));
    requests.request('db.example', () => requests.request('db.example', () => {}));
    requests.answer('db.example', answer);
    expect(asked).toEqual(['db.example', 'db.example']);
  });
});

describe('chooseAddress()', () => {
  const addresses = [ip('192.0.2.1'), ip('2001:db8::1'), ip('192.0.2.2')];

  it('takes any of the family the client dialled', () => {
    const choose = (family: 4 | 6, at: number) => chooseAddress(addresses, { family, random: () => at });
    expect([choose(4, 0), choose(4, 0.99), choose(6, 0.99)]).toEqual([
      '192.0.2.1',
      '192.0.2.2',
      '2001:db8::1',
    ]);
  });

  it('takes the other family when there is nothing else, and nothing from nothing', () => {
    const only = [ip('192.0.2.1')];
    expect(chooseAddress(only, { family: 6, random: () => 0 })).toBe('192.0.2.1');
    expect(chooseAddress([], { family: 4, random: () => 0 })).toBeUndefined();
  });
});
