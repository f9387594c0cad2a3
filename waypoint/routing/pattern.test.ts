import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { literalPrefix, Pattern, PatternCompiler, toOctets } from './pattern.ts';

function compile(source: string): Pattern {
  const pattern = new PatternCompiler().compile(source);
  if (pattern instanceof Error) throw pattern;
  return pattern;
}

describe('Pattern', () => {
  test.each([
    ['a|ab', 'ab', true],
    ['b', 'abc', false],
    ['^a$', 'a', true],
    ['a.c', 'a\nc', false],
    ['[0-9]{2,3}', '123', true],
    ['(?i)abc', 'ABC', true],
    ['\\d+', '42', true],
    ['', '', true],
    ['', 'a', false],
  ])('%s matches all of %j: %s', (source, text, expected) => {
    expect(compile(source).matches(text)).toBe(expected);
  });

  test('reads octets as UTF-8', () => {
    expect(compile('gr.ß').matches(toOctets('grüß'))).toBe(true);
    expect(compile('gr[öü]ß').matches(toOctets('gräß'))).toBe(false);
  });

  test('reads texts up to its bound, and says when one was longer', () => {
    const compiler = new PatternCompiler();
    const pattern = compiler.compile('a*') as Pattern;
    expect(pattern.matches('a'.repeat(8_192))).toBe(true);
    expect(compiler.effort.exceeded).toBe(false);
    expect(pattern.matches('a'.repeat(8_193))).toBe(false);
    expect(compiler.effort.exceeded).toBe(true);
    expect(pattern.matches('a')).toBe(false);
    compiler.effort.reset();
    expect(pattern.matches('a')).toBe(true);
  });

  test('a request may cost its patterns so much and no more', () => {
    const compiler = new PatternCompiler();
    const pattern = compiler.compile('(?:[ab]*a[ab]{90}){5}c') as Pattern;
    let runs = 0;
    while (!compiler.effort.exceeded && runs < 1_000) {
      pattern.matches('ab'.repeat(4_000));
      runs++;
    }
    expect(runs).toBeGreaterThan(1);
    expect(runs).toBeLessThan(10);
  });

  test.each(['(a+)+$', '(a|a)*b', '(.*a){20}', '(a?){60}a{60}b', '([a-z]+)*!', '(?:.*a.{60}b)+x'])(
    '%s runs through a hostile text, where a backtracking engine would not end',
    (source) => {
      const compiler = new PatternCompiler();
      const pattern = compiler.compile(source) as Pattern;
      for (let i = 0; i < 20; i++) {
        compiler.effort.reset();
        expect(pattern.matches(`${'ab'.repeat(2_000)}${i}#`)).toBe(false);
        expect(compiler.effort.exceeded).toBe(false);
      }
    },
  );

  test('keeps answering when its cache is too small for the automaton', () => {
    const pattern = compile('.*a.{12}');
    pattern.limitCache(16 * 1024);
    const random = fc.sample(fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 60 }), {
      numRuns: 300,
      seed: 7,
    });
    for (const text of random) expect(pattern.matches(text)).toBe(/^.*a.{12}$/.test(text));
  });
});

describe('PatternCompiler', () => {
  test.each([
    ['(', 'RE2 syntax'],
    ['(?=a)', 'RE2 syntax'],
    ['(?<!a)b\\1', 'RE2 syntax'],
    ['a{1000}a{1000}', 'steps'],
    ['a'.repeat(4_097), 'characters'],
  ])('refuses %.20s', (source, reason) => {
    expect(refusal(new PatternCompiler(), source)).toContain(reason);
  });

  test('compiles equal patterns once', () => {
    const compiler = new PatternCompiler();
    expect(compiler.compile('a+')).toBe(compiler.compile('a+'));
  });

  test('bounds the number of patterns', () => {
    const compiler = new PatternCompiler();
    for (let i = 0; i < 1_000; i++) expect(compiler.compile(`/${i}`)).toBeInstanceOf(Pattern);
    expect(refusal(compiler, '/more')).toContain('More than 1000');
    expect(compiler.compile('/999')).toBeInstanceOf(Pattern);
  });

  test('bounds the work that oversized patterns make', () => {
    const compiler = new PatternCompiler();
    const reasons = Array.from({ length: 40 }, (_, i) =>
      refusal(compiler, `(((${'a'.repeat(300 + i)}){10}){10}){10}`),
    );
    expect(reasons[0]).toContain('steps');
    expect(reasons.at(-1)).toContain('too large');
  });
});

/** Why a pattern was refused. */
function refusal(compiler: PatternCompiler, source: string): string {
  const pattern = compiler.compile(source);
  return pattern instanceof Error ? pattern.message : 'It was not refused';
}

describe('literalPrefix()', () => {
  test.each([
    ['/api/v[0-9]+', '/api/v'],
    ['/api/.*', '/api/'],
    ['/colou?r', '/colo'],
    ['/a{0}b', '/'],
    ['/a*', '/'],
    ['/a+', '/a'],
    ['/plain', '/plain'],
    ['a|b', ''],
    ['(?i)abc', ''],
    ['\\Qa', ''],
    ['', ''],
  ])('of %s is %j', (source, expected) => {
    expect(literalPrefix(source)).toBe(expected);
  });

  test('is the beginning of everything that matches', () => {
    const part = fc.constantFrom('a', 'b', '/', 'a?', 'b*', '(ab)?', '.', 'a{0,1}', '[ab]', 'a+', '-');
    const source = fc.array(part, { maxLength: 5 }).map((parts) => parts.join(''));
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '-'), maxLength: 6 });
    fc.assert(
      fc.property(source, text, (pattern, candidate) => {
        expect(compile(pattern).matches(candidate)).toBe(new RegExp(`^(?:${pattern})$`).test(candidate));
      }),
      { numRuns: 2_000 },
    );
  });
});
