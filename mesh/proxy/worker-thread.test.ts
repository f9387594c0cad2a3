import { describe, expect, it } from 'vitest';
import { WorkerThread } from './worker-thread.ts';

interface Answer {
  readonly kind: string;
  readonly id?: number;
  readonly text?: string;
}

interface Question {
  readonly id?: number;
  readonly text: string;
}

/** A thread of plain JavaScript; eventfds are not needed as long as it says no `ready`. */
function start(code: string) {
  const died = Promise.withResolvers<Error>();
  const messages: Answer[] = [];
  const thread = new WorkerThread<Question, Answer>(
    { entry: new URL(`data:text/javascript,${encodeURIComponent(code)}`), data: { name: 'given' } },
    { onMessage: (message) => messages.push(message), onDied: died.resolve },
  );
  return { thread, messages, died: died.promise };
}

describe('WorkerThread', () => {
  it('says that a thread died, and stop() after that resolves', async () => {
    const { thread, died } = start('throw new Error("broken")');
    expect((await died).message).toContain('broken');
    await thread.stop({ text: 'end' });
  });

  it('says that a thread ended by itself', async () => {
    const { thread, died } = start('process.exit(3)');
    expect((await died).message).toBe('A data worker ended with code 3');
    await thread.stop({ text: 'end' });
  });

  it('keeps the young generation of a thread small, however much garbage it makes', async () => {
    const { messages, died } = start(`
      import { getHeapSpaceStatistics } from 'node:v8';
      import { parentPort } from 'node:worker_threads';
      const kept = [];
      for (let i = 0; i < 3_000_000; i++) kept[i % 1000] = { at: i, list: [i] };
      const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
      parentPort.postMessage({ kind: 'young', text: String(young.physical_space_size) });`);
    await died;
    expect(Number(messages[0]?.text)).toBeGreaterThan(0);
    expect(Number(messages[0]?.text)).toBeLessThan(7_000_000);
  });

  it('gives answers to who asked and everything else to the handler', async () => {
    const { thread, messages } = start(`
      import { parentPort, workerData } from 'node:worker_threads';
      import { EFD_NONBLOCK, eventfd } from '${new URL('../io/libc.ts', import.meta.url).href}';
      parentPort.postMessage({ kind: 'ready', wakeFd: eventfd(0, EFD_NONBLOCK) });
      parentPort.on('message', ({ id, text }) => {
        if (text === 'end') return parentPort.close();
        parentPort.postMessage({ kind: 'note', text });
        parentPort.postMessage({ kind: 'answer', id, text: workerData.name + ' ' + text });
      });
    `);
    const answers = await Promise.all([
      thread.ask('answer', (id) => ({ id, text: 'one' })),
      thread.ask('answer', (id) => ({ id, text: 'two' })),
    ]);
    expect(answers.map(({ text }) => text)).toEqual(['given one', 'given two']);
    expect(messages.map(({ text }) => text)).toEqual(['one', 'two']);
    await expect(thread.ask('count', (id) => ({ id, text: 'three' }))).rejects.toThrow(
      'A data worker answered answer when asked for count',
    );
    await thread.stop({ text: 'end' });
  });
});
