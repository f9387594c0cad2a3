// The indexed engine against a naive reading of the specification, and what the L4 projection promises.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toL4 } from './l4-projection.ts';
import { PolicySet } from './policy-set.ts';
import { naiveDecision } from './testing/naive-decision.ts';
import { connection, policies, request } from './testing/policy-arbitrary.ts';

describe('PolicySet', () => {
  it('decides as a naive reading of the specification does', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(policies, fc.array(connection, { minLength: 1, maxLength: 10 }), (list, connections) => {
        const set = new PolicySet(list);
        for (const facts of connections) {
          const expected = naiveDecision(list, facts);
          expect(set.decide(facts)).toEqual(expected);
          seen.add(expected.reason);
          if (expected.audits.length > 0) seen.add('audits');
        }
      }),
      { numRuns: 3000 },
    );
    expect([...seen].sort()).toEqual(['allowed-by', 'audits', 'denied-by', 'no-allow-matched', 'no-policy']);
  });

  it('decides about requests as a naive reading does', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(
        policies,
        connection,
        fc.array(request, { minLength: 1, maxLength: 10 }),
        (list, l4, requests) => {
          const set = new PolicySet(list);
          for (const http of requests) {
            const facts = { ...l4, http };
            const expected = naiveDecision(list, facts);
            expect(set.decide(facts)).toEqual(expected);
            seen.add(expected.reason);
          }
        },
      ),
      { numRuns: 3000 },
    );
    expect([...seen].sort()).toEqual(['allowed-by', 'denied-by', 'no-allow-matched', 'no-policy']);
  });
});

describe('the L4 projection', () => {
  it('decides as the whole policies do where nothing is known of a request', () => {
    fc.assert(
      fc.property(policies, fc.array(connection, { minLength: 1, maxLength: 5 }), (list, connections) => {
        const whole = new PolicySet(list);
        const projected = new PolicySet(list.map(toL4).filter((policy) => policy !== undefined));
        for (const facts of connections) expect(projected.decide(facts)).toEqual(whole.decide(facts));
      }),
      { numRuns: 2000 },
    );
  });

  it('never admits what any request over the connection is refused, and refuses by DENY whatever one is', () => {
    const seen = { refused: 0, admitted: 0, stricter: 0 };
    fc.assert(
      fc.property(
        policies,
        connection,
        fc.array(request, { minLength: 1, maxLength: 10 }),
        (list, l4, requests) => {
          const whole = new PolicySet(list);
          const projected = new PolicySet(list.map(toL4).filter((policy) => policy !== undefined)).decide(l4);
          for (const http of requests) {
            const decision = whole.decide({ ...l4, http });
            if (decision.reason === 'denied-by') {
              expect(projected.reason).toBe('denied-by');
              seen.refused++;
            }
            if (projected.allowed) {
              expect(decision.allowed).toBe(true);
              seen.admitted++;
            } else if (decision.allowed) seen.stricter++;
          }
        },
      ),
      { numRuns: 3000 },
    );
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(100);
  });
});
