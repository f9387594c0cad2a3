import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Header } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { JwtRule } from '../../mesh/model/request-authentication.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { TokenGate, type TokenGateOptions, type TokenOutcome } from './token-gate.ts';
import type { TokenJob, TokenResult } from './token-job.ts';

const rule: JwtRule = {
  issuer: 'iss',
  audiences: [],
  keys: { kind: 'url', url: 'http://keys.test/' },
  locations: [
    { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
    { kind: 'query', name: 'access_token' },
    { kind: 'cookie', name: 'session' },
  ],
  claimHeaders: [{ claim: 'role', header: 'x-role' }],
  forward: false,
  payloadHeader: undefined,
};

function head(headers: readonly Header[] = [], path = '/'): RequestHead {
  return { method: 'GET', scheme: 'http', authority: 'a', path, upgrade: undefined, headers };
}

function bearer(token: string): Header {
  return ['authorization', `Bearer ${token}`];
}

function valid(
  claims: Record<string, unknown> = { iss: 'iss', sub: 'ann' },
  expiresAt?: number,
): TokenResult {
  return { kind: 'valid', rule: 0, claims, expiresAt };
}

function world(options: Partial<TokenGateOptions> = {}) {
  const clock = new ManualClock();
  const jobs: TokenJob[] = [];
  const outcomes: TokenOutcome[] = [];
  const gate = new TokenGate({
    post: (job) => jobs.push(job),
    now: () => clock.now(),
    after: (ms, run) => clock.after(ms, run),
    ...options,
  });
  const check = (request: RequestHead, rules: readonly JwtRule[] = onlyRule): number =>
    gate.check(request, rules, (outcome) => outcomes.push(outcome)) ?? outcomes.length;
  const answer = (result: TokenResult, index = jobs.length - 1): void =>
    gate.answer({ id: (jobs[index] as TokenJob).id, result });
  return { clock, jobs, outcomes, gate, check, answer };
}

const onlyRule = [rule];

describe('TokenGate.check()', () => {
  it('lets a request without a token pass, with the very same head', () => {
    const { check, outcomes, jobs } = world();
    const request = head(
      [
        ['accept', '*/*'],
        ['authorization', 'Basic YTpi'],
      ],
      '/?a=b',
    );
    check(request);
    check(request, []);
    expect(outcomes).toEqual([
      { kind: 'none', head: request },
      { kind: 'none', head: request },
    ]);
    expect(outcomes[0]).toHaveProperty('head', request);
    expect(jobs).toEqual([]);
  });

  it('verifies a token once and remembers it', () => {
    const { check, outcomes, jobs, answer, gate } = world();
    check(head([bearer('a.b.c')]));
    check(head([bearer('a.b.c')]));
    expect([jobs.length, outcomes.length, gate.load]).toEqual([1, 0, { tokens: 1, requests: 2 }]);
    expect(jobs[0]).toEqual({
      id: 1,
      token: 'a.b.c',
      rules: [{ issuer: 'iss', audiences: [], keys: rule.keys }],
    });
    answer(valid());
    check(head([bearer('a.b.c')]));
    const outcome = {
      kind: 'valid',
      head: head(),
      token: { principal: 'iss/ann', claims: { iss: 'iss', sub: 'ann' } },
    };
    expect(outcomes).toEqual([outcome, outcome, outcome]);
    expect([jobs.length, gate.load]).toEqual([1, { tokens: 0, requests: 0 }]);
  });

  it('forgets a token at its end, and after five minutes', () => {
    const { check, jobs, answer, clock } = world();
    check(head([bearer('a.b.c')]));
    answer(valid(undefined, clock.now() + 1_000));
    clock.advance(999);
    check(head([bearer('a.b.c')]));
    expect(jobs.length).toBe(1);
    clock.advance(1);
    check(head([bearer('a.b.c')]));
    expect(jobs.length).toBe(2);
    answer(valid());
    clock.advance(300_000);
    check(head([bearer('a.b.c')]));
    expect(jobs.length).toBe(3);
  });

  it('refuses with a challenge and remembers that for ten seconds', () => {
    const { check, jobs, outcomes, answer, clock } = world();
    check(head([bearer('a.b.c')]));
    answer({ kind: 'invalid', reason: 'The token has expired', lasting: true });
    check(head([bearer('a.b.c')]));
    const challenge = 'Bearer error="invalid_token", error_description="The token has expired"';
    const refused = { kind: 'invalid', status: 401, reason: 'The token has expired', challenge };
    expect([outcomes, jobs.length]).toEqual([[refused, refused], 1]);
    clock.advance(10_000);
    check(head([bearer('a.b.c')]));
    expect(jobs.length).toBe(2);
  });

  it.each<TokenResult>([
    { kind: 'unavailable', reason: 'x' },
    { kind: 'invalid', reason: 'x', lasting: false },
  ])('asks again at once after %j', (result) => {
    const { check, jobs, answer } = world();
    check(head([bearer('a.b.c')]));
    answer(result);
    check(head([bearer('a.b.c')]));
    expect(jobs.length).toBe(2);
  });

  it('refuses what is no signed token without asking anybody', () => {
    const { check, jobs, outcomes } = world();
    for (const token of [
      '',
      'abc',
      'a.b',
      'a.b.c.d',
      'a.b.c.d.e',
      'a b.c.d',
      'ä.b.c',
      `${'a'.repeat(16_384)}.b.c`,
    ]) {
      check(head([bearer(token)]));
    }
    expect([jobs.length, outcomes.map(({ kind }) => kind)]).toEqual([0, Array(8).fill('invalid')]);
  });

  it('is unavailable when the answer does not come in time, and takes no late answer for another', () => {
    const { check, outcomes, answer, clock, gate } = world();
    check(head([bearer('a.b.c')]));
    clock.advance(7_000);
    expect(outcomes).toMatchObject([{ kind: 'unavailable', status: 503 }]);
    answer(valid());
    expect([outcomes.length, gate.load]).toEqual([1, { tokens: 0, requests: 0 }]);
  });

  it('bounds tokens under verification and requests that wait', () => {
    const { check, outcomes, gate } = world({ maxPending: 2, maxWaiting: 3 });
    for (const token of ['a.a.a', 'b.b.b', 'c.c.c', 'a.a.a', 'b.b.b']) check(head([bearer(token)]));
    expect(gate.load).toEqual({ tokens: 2, requests: 3 });
    expect(outcomes.map(({ kind }) => kind)).toEqual(['unavailable', 'unavailable']);
  });

  it('leaves others their turn when one client has its share under way', () => {
    const { gate, clock } = world({ maxPending: 20, maxWaiting: 30 });
    const rules = [rule];
    const outcomes: string[] = [];
    const ask = (client: string, token: string) =>
      gate.check(head([bearer(token)]), rules, ({ kind }) => outcomes.push(`${client} ${kind}`), client);
    for (let i = 0; i < 10; i++) ask('greedy', `g.g.${i}`);
    for (let i = 0; i < 5; i++) ask('greedy', 'g.g.0');
    ask('modest', 'm.m.m');
    expect(outcomes).toEqual(Array.from({ length: 12 }, () => 'greedy unavailable'));
    expect(gate.load).toEqual({ tokens: 3, requests: 4 });
    clock.advance(7_000);
    expect(gate.load).toEqual({ tokens: 0, requests: 0 });
    ask('greedy', 'g.g.9');
    expect(gate.load).toEqual({ tokens: 1, requests: 1 });
  });

  it('keeps good tokens in memory whatever bad ones come', () => {
    const { check, jobs, answer, outcomes } = world({ maxRemembered: 2 });
    check(head([bearer('good.b.c')]));
    answer(valid());
    for (let i = 0; i < 10; i++) {
      check(head([bearer(`bad.b.${i}`)]));
      answer({ kind: 'invalid', reason: 'x', lasting: true });
    }
    check(head([bearer('good.b.c')]));
    expect([jobs.length, outcomes.at(-1)?.kind]).toEqual([11, 'valid']);
  });

  it('does not mix up rules: what one list remembers is nothing to another', () => {
    const { check, jobs, answer } = world();
    check(head([bearer('a.b.c')]));
    answer(valid());
    check(head([bearer('a.b.c')]), [{ ...rule, issuer: 'other' }]);
    expect(jobs.length).toBe(2);
  });
});

describe('what goes on to the application', () => {
  const forwarded = (request: RequestHead, changes: Partial<JwtRule>, claims?: Record<string, unknown>) => {
    const { check, answer, outcomes, jobs } = world();
    check(request, [{ ...rule, ...changes }]);
    if (jobs.length > 0) answer(valid(claims));
    const [outcome] = outcomes;
    if (outcome?.kind !== 'valid' && outcome?.kind !== 'none') throw new Error(`Refused: ${outcome?.reason}`);
    return outcome.head;
  };

  it('has no header that only a verified token may set, whatever its spelling', () => {
    const own: Header[] = [
      ['x-role', 'admin'],
      ['x_role', 'admin'],
      ['x-other', '1'],
    ];
    expect(forwarded(head(own), {}).headers).toEqual([['x-other', '1']]);
    expect(forwarded(head([...own, bearer('a.b.c')]), {}, { role: 'user' }).headers).toEqual([
      ['x-other', '1'],
      ['x-role', 'user'],
    ]);
    expect(forwarded(head([['x-payload', 'x']]), { payloadHeader: 'x-payload' }).headers).toEqual([]);
  });

  it('has the token only if it is to be forwarded', () => {
    const requests = [
      head([bearer('a.b.c')]),
      head([], '/p?x=1&access_token=a.b.c&y=2'),
      head([], '/p?access_token=a.b.c'),
      head([['cookie', 'a=1; session=a.b.c; b=2']]),
      head([['cookie', 'session="a.b.c"']]),
    ];
    expect(requests.map((request) => forwarded(request, {}, {}))).toEqual([
      head(),
      head([], '/p?x=1&y=2'),
      head([], '/p'),
      head([['cookie', 'a=1; b=2']]),
      head(),
    ]);
    for (const request of requests) expect(forwarded(request, { forward: true }, {})).toEqual(request);
  });

  it('has claims in headers: plain values as text, others encoded, none that could end a line', () => {
    const names = ['text', 'number', 'flag', 'list', 'a.b', 'https://x.test/y', 'break', 'absent', 'umlaut'];
    const claimHeaders = names.map((claim, i) => ({ claim, header: `h${i}` }));
    const claims = {
      text: 'user',
      number: 7,
      flag: true,
      list: ['x'],
      a: { b: 'nested' },
      'https://x.test/y': 'dotted',
      break: 'a\r\nx-role: admin',
      umlaut: 'ü',
    };
    expect(forwarded(head([bearer('a.b.c')]), { claimHeaders }, claims).headers).toEqual([
      ['h0', 'user'],
      ['h1', '7'],
      ['h2', 'true'],
      ['h3', Buffer.from('["x"]').toString('base64url')],
      ['h4', 'nested'],
      ['h5', 'dotted'],
      ['h8', 'Ã¼'],
    ]);
  });

  it('has the payload as it was signed', () => {
    const { headers } = forwarded(head([bearer('a.cGF5.c')]), {
      payloadHeader: 'x-payload',
      claimHeaders: [],
    });
    expect(headers).toEqual([['x-payload', 'cGF5']]);
  });
});

describe('several tokens', () => {
  const second: JwtRule = {
    ...rule,
    issuer: 'second',
    locations: [{ kind: 'header', name: 'x-token', prefix: '' }],
    claimHeaders: [],
  };
  const both = [second, rule];
  const request = head([bearer('a.b.c'), ['x-token', 'd.e.f']]);

  it('must all be valid; the first rule says who is asking', () => {
    const { check, jobs, gate, outcomes } = world();
    check(request, both);
    for (const job of jobs) {
      const issuer = job.rules[0]?.issuer;
      gate.answer({ id: job.id, result: valid({ iss: issuer, sub: 'x' }) });
    }
    expect(outcomes).toMatchObject([{ kind: 'valid', token: { principal: 'second/x' }, head: head() }]);
  });

  it('one bad one refuses', () => {
    const { check, jobs, gate, outcomes } = world();
    check(request, both);
    for (const [i, job] of jobs.entries()) {
      gate.answer({
        id: job.id,
        result: i === 0 ? valid() : { kind: 'invalid', reason: 'x', lasting: true },
      });
    }
    expect(outcomes).toMatchObject([{ kind: 'invalid' }]);
  });

  it('more than four are refused', () => {
    const { check, outcomes } = world();
    check(head(['a', 'b', 'c', 'd', 'e'].map((name) => bearer(`${name}.x.x`))));
    expect(outcomes).toMatchObject([{ kind: 'invalid', reason: 'More than 4 tokens in one request' }]);
  });
});

describe('any request', () => {
  it('is answered exactly once, and never with a header that it set itself', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary-ascii', maxLength: 12 }),
      fc.constantFrom('a.b.c', 'Bearer a.b.c'),
    );
    const header = fc.tuple(fc.constantFrom('authorization', 'cookie', 'x-role', 'x_role', 'accept'), text);
    const path = fc.string({ unit: 'binary-ascii', maxLength: 20 }).map((query) => `/?access_token=${query}`);
    fc.assert(
      fc.property(fc.array(header, { maxLength: 6 }), path, (headers, target) => {
        const { check, jobs, gate, outcomes } = world();
        check(head(headers, target));
        for (const { id } of jobs) gate.answer({ id, result: valid({ role: 'user' }) });
        const [outcome] = outcomes;
        expect(outcomes.length).toBe(1);
        if (outcome?.kind !== 'none' && outcome?.kind !== 'valid') return;
        const roles = outcome.head.headers.filter(([name]) => name === 'x-role' || name === 'x_role');
        expect(roles).toEqual(outcome.kind === 'none' ? [] : roles.map(() => ['x-role', 'user']));
      }),
      { numRuns: 1000 },
    );
  });
});
