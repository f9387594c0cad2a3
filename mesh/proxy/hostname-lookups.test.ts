import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../runtime/clock.ts';
import { type HostnameAnswer, HostnameLookups, type HostnameRecords } from './hostname-lookups.ts';

interface Question extends PromiseWithResolvers<HostnameRecords> {
  readonly hostname: string;
  readonly signal: AbortSignal;
}

const clock = new ManualClock();
let open: HostnameLookups[] = [];

/** Lookups whose questions the test answers itself. */
function make(limits: { maxAtOnce?: number; maxWaiting?: number } = {}) {
  const questions: Question[] = [];
  const lookups = new HostnameLookups({
    clock,
    ...limits,
    resolve: (hostname, signal) => {
      const question = { hostname, signal, ...Promise.withResolvers<HostnameRecords>() };
      questions.push(question);
      return question.promise;
    },
  });
  open.push(lookups);
  return { lookups, questions };
}

const found = (...addresses: string[]): HostnameAnswer =>
  ({ kind: 'addresses', addresses }) as unknown as HostnameAnswer;

/** Lets the promises of an answer run. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

afterEach(() => {
  for (const lookups of open) lookups.close();
  open = [];
});

describe('HostnameLookups', () => {
  it('asks once for a name that several want, whatever its case, and keeps the answer for its TTL', async () => {
    const { lookups, questions } = make();
    const answers = Promise.all([lookups.lookUp('db.example'), lookups.lookUp('DB.example')]);
    questions[0]?.resolve({ addresses: ['192.0.2.1', '2001:db8::1'], ttlSeconds: 10 });
    expect(await answers).toEqual([found('192.0.2.1', '2001:db8::1'), found('192.0.2.1', '2001:db8::1')]);
    clock.advance(9_999);
    expect(await lookups.lookUp('db.example')).toEqual(found('192.0.2.1', '2001:db8::1'));
    expect(questions).toHaveLength(1);
    clock.advance(1);
    void lookups.lookUp('db.example');
    expect(questions).toHaveLength(2);
  });

  it.each([
    ['30 s when the TTL is longer', 86_400, 30_000],
    ['1 s when the TTL is 0', 0, 1_000],
  ])('keeps an answer for %s', async (_title, ttlSeconds, keptMs) => {
    const { lookups, questions } = make();
    const answer = lookups.lookUp('db.example');
    questions[0]?.resolve({ addresses: ['192.0.2.1'], ttlSeconds });
    await answer;
    clock.advance(keptMs - 1);
    void lookups.lookUp('db.example');
    expect(questions).toHaveLength(1);
    clock.advance(1);
    void lookups.lookUp('db.example');
    expect(questions).toHaveLength(2);
  });

  it('keeps a failure for 2 s, with its reason', async () => {
    const { lookups, questions } = make();
    const answer = lookups.lookUp('gone.example');
    questions[0]?.reject(new Error('queryA ENOTFOUND gone.example'));
    const failure = { kind: 'failed', reason: 'queryA ENOTFOUND gone.example' };
    expect(await answer).toEqual(failure);
    clock.advance(1_999);
    expect(await lookups.lookUp('gone.example')).toEqual(failure);
    clock.advance(1);
    void lookups.lookUp('gone.example');
    expect(questions).toHaveLength(2);
  });

  it('leaves out addresses that lead into the pod itself or are none', async () => {
    const { lookups, questions } = make();
    const mixed = lookups.lookUp('mixed.example');
    const addresses = ['127.0.0.1', '::1', '0.0.0.0', '::', 'x', '::ffff:127.0.0.1', '192.0.2.1'];
    questions[0]?.resolve({ addresses, ttlSeconds: 10 });
    expect(await mixed).toEqual(found('192.0.2.1'));
    const none = lookups.lookUp('none.example');
    questions[1]?.resolve({ addresses: ['127.0.0.1'], ttlSeconds: 10 });
    expect(await none).toEqual({ kind: 'failed', reason: 'it has no usable address' });
  });

  it('has at most so many lookups under way, lets others wait, and refuses beyond that', async () => {
    const { lookups, questions } = make({ maxAtOnce: 2, maxWaiting: 1 });
    const [first] = ['a', 'b', 'c'].map((name) => lookups.lookUp(`${name}.example`));
    expect(questions.map(({ hostname }) => hostname)).toEqual(['a.example', 'b.example']);
    expect(await lookups.lookUp('d.example')).toEqual({
      kind: 'failed',
      reason: '1 other names already wait for DNS',
    });
    questions[0]?.resolve({ addresses: ['192.0.2.1'], ttlSeconds: 10 });
    await first;
    expect(questions.map(({ hostname }) => hostname)).toEqual(['a.example', 'b.example', 'c.example']);
  });

  it('gives up after 5 s, also on a name that only waited, and ignores what comes later', async () => {
    const { lookups, questions } = make({ maxAtOnce: 1 });
    const answers = Promise.all([lookups.lookUp('slow.example'), lookups.lookUp('waits.example')]);
    clock.advance(5_000);
    const failure = { kind: 'failed', reason: 'no answer of the name servers within 5000 ms' };
    expect(await answers).toEqual([failure, failure]);
    expect(questions[0]?.signal.aborted).toBe(true);
    questions[0]?.resolve({ addresses: ['192.0.2.1'], ttlSeconds: 10 });
    await settle();
    expect(await lookups.lookUp('slow.example')).toEqual(failure);
  });

  it('answers what is open when it is closed', async () => {
    const { lookups, questions } = make();
    const answer = lookups.lookUp('db.example');
    lookups.close();
    expect(await answer).toEqual({ kind: 'failed', reason: 'the node tunnel stops' });
    expect(questions[0]?.signal.aborted).toBe(true);
  });
});
