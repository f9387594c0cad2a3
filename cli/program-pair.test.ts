import { describe, expect, it } from 'vitest';
import { endText, ProgramPair } from './program-pair.ts';

/** A program that says `up`, and on SIGTERM `asked` and ends with 0. */
const polite = `
  process.on('SIGTERM', () => { console.log('asked'); process.exit(0); });
  setInterval(() => {}, 1000);
  console.log('up');
`;

function makePair() {
  let text = '';
  let look = (): void => {};
  const add = (more: string): void => {
    text += more;
    look();
  };
  const pair = new ProgramPair({ out: add, err: add });
  const start = (name: string, source: string, signalAlone: NodeJS.Signals = 'SIGTERM') =>
    pair.start(name, [process.execPath, '-e', source], { signalAlone });
  const until = (pattern: RegExp): Promise<void> =>
    new Promise((resolve) => {
      look = () => {
        if (pattern.test(text)) resolve();
      };
      look();
    });
  return { pair, start, until, text: () => text };
}

describe('ProgramPair', () => {
  it('says which one ended by itself and how, and ends the other with the signal it was started with', async () => {
    const { pair, start, until, text } = makePair();
    const { child } = start('controller', polite);
    start('ztunnel', polite, 'SIGKILL');
    await until(/up\nup\n/);
    child.kill('SIGKILL');
    const first = await pair.firstEnd();
    expect([first.name, endText(first), pair.asked]).toEqual(['controller', 'was ended by SIGKILL', false]);
    pair.endRest();
    const ends = await pair.allEnds();
    expect(ends.map(endText)).toEqual(['was ended by SIGKILL', 'was ended by SIGKILL']);
    expect(text()).not.toContain('asked');
  });

  it('asks each once for each time that it is asked, and none that has ended', async () => {
    const { pair, start, until, text } = makePair();
    const counting = `
      let count = 0;
      process.on('SIGTERM', () => { console.log('asked ' + ++count); if (count === 2) process.exit(3); });
      setInterval(() => {}, 1000);
      console.log('up');
    `;
    start('controller', polite);
    start('ztunnel', counting);
    await until(/up\nup\n/);
    pair.askToEnd();
    await until(/asked 1/);
    expect((await pair.firstEnd()).name).toBe('controller');
    pair.askToEnd();
    expect((await pair.allEnds()).map(endText)).toEqual(['ended with status 0', 'ended with status 3']);
    expect([...text().matchAll(/asked.*/g)].map(String).sort()).toEqual(['asked', 'asked 1', 'asked 2']);
  });

  it('loses no line of a program that ends right after it', async () => {
    const { pair, start, text } = makePair();
    start('controller', `process.stdout.write('line\\n'.repeat(20000) + 'last\\n', () => process.exit(1))`);
    expect(endText(await pair.firstEnd())).toBe('ended with status 1');
    expect(text()).toMatch(/line\nlast\n$/);
  });

  it('says why a program cannot be started', async () => {
    const { pair, text } = makePair();
    pair.start('ztunnel', ['/nowhere/program'], { signalAlone: 'SIGKILL' });
    expect((await pair.firstEnd()).code).not.toBe(0);
    expect(text()).toContain('/nowhere/program');
  });
});
