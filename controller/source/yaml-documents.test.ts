import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseYamlText, type YamlDocument } from './yaml-documents.ts';

describe('parseYamlText()', () => {
  it('reads several documents and leaves out empty ones', () => {
    const { documents, errors } = parseYamlText(
      '---\na: 1\n---\n---\n# only a comment\n---\nb: [x, y]\n...\n',
    );
    expect(errors).toEqual([]);
    expect(documents.map(({ value }) => value)).toEqual([{ a: 1 }, { b: ['x', 'y'] }]);
    expect(documents.map(({ start }) => start.line)).toEqual([2, 7]);
  });

  it('reads JSON with tabs and escapes', () => {
    const { documents, errors } = parseYamlText('{\n\t"a": "\\u00e9\\/",\n\t"b": [1, true, null]\n}\n');
    expect(errors).toEqual([]);
    expect(documents[0]?.value).toEqual({ a: 'é/', b: [1, true, null] });
  });

  it('locates values, keys, and the nearest parent of what is missing', () => {
    const { documents } = parseYamlText('a:\n  b:\n    - x\n    - c: 1\n');
    const locate = (...args: Parameters<YamlDocument['locate']>) => documents[0]?.locate(...args);
    expect(locate(['a', 'b', 1, 'c'])).toEqual({ line: 4, column: 10 });
    expect(locate(['a', 'b', 1, 'c'], 'key')).toEqual({ line: 4, column: 7 });
    expect(locate(['a', 'b', 1, 'missing', 'deeper'])).toEqual({ line: 4, column: 7 });
    expect(locate(['a', 'b', 9])).toEqual({ line: 3, column: 5 });
  });

  it('locates through an alias', () => {
    const { documents } = parseYamlText('base: &base\n  x: 1\nuse: *base\n');
    expect(documents[0]?.locate(['use', 'x'])).toEqual({ line: 2, column: 6 });
  });

  it('resolves merge keys', () => {
    const { documents } = parseYamlText('base: &base { x: 1, y: 2 }\nuse: { <<: *base, y: 3 }\n');
    expect(documents[0]?.value).toMatchObject({ use: { x: 1, y: 3 } });
  });

  it.each([
    ['an unclosed quote (at its end)', 'a: "b\nc: d\n', 3],
    ['a duplicate key', 'a: 1\nb: 2\na: 3\n', 3],
    ['bad indentation', 'a:\n  b: 1\n c: 2\n', 3],
    ['an unknown alias', 'a: *nowhere\n', 1],
    ['a tab as indentation', 'a:\n\tb: 1\n', 2],
  ])('reports %s with its line', (_what, text, line) => {
    const { errors } = parseYamlText(text);
    expect(errors[0]?.line).toBe(line);
    expect(errors[0]?.message).toMatch(/^[A-Z]/);
  });

  it('refuses aliases that multiply', () => {
    const lines = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
    for (const [name, of] of ['ba', 'cb', 'dc', 'ed', 'fe', 'gf', 'hg'].map((pair) => pair.split(''))) {
      lines.push(`${name}: &${name} [${Array(10).fill(`*${of}`).join(', ')}]`);
    }
    const { documents, errors } = parseYamlText(lines.join('\n'));
    expect(documents).toEqual([]);
    expect(errors[0]?.message).toMatch(/alias/i);
  });

  it.each(['[', '{a: ', '- '])('refuses %j repeated 50,000 times without exhausting the stack', (piece) => {
    const { documents, errors } = parseYamlText(piece.repeat(50_000));
    expect(documents).toEqual([]);
    expect(errors.length).toBeGreaterThan(0);
  });

  it('keeps "__proto__" a plain key', () => {
    const { documents } = parseYamlText('__proto__: { polluted: true }\na: 1\n');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(documents[0]?.value).toMatchObject({ a: 1 });
  });

  it('never throws, whatever the text', () => {
    const word = fc.constantFrom(
      'a',
      ':',
      ' ',
      '\n',
      '- ',
      '"',
      "'",
      '{',
      '}',
      '[',
      ']',
      '&x',
      '*x',
      '|',
      '>',
      '#',
      '---\n',
      '!t',
      '%',
      '\t',
      '<<',
      '?',
    );
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(word).map((words) => words.join('')),
    );
    fc.assert(
      fc.property(text, (input) => {
        const { documents, errors } = parseYamlText(input);
        for (const { line, column } of errors) expect(Math.min(line, column)).toBeGreaterThan(0);
        for (const document of documents) expect(document.locate(['a', 0, 'b']).line).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });
});
