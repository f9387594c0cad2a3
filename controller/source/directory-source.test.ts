import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, systemClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import type { Resources } from '../resources/resources.ts';
import { SourceError } from './directory-error.ts';
import { DirectorySource } from './directory-source.ts';
import type { Problem } from './problem.ts';

interface Update {
  readonly nodes: readonly string[];
  readonly problems: readonly Problem[];
}

/** Records updates; `next` resolves with the first update from now on that fits. */
class Recorder {
  readonly updates: Update[] = [];
  #waiting: { fits: (update: Update) => boolean; resolve: (update: Update) => void }[] = [];

  onResources(resources: Resources, problems: readonly Problem[]): void {
    const update = { nodes: [...resources.Node.keys()], problems };
    this.updates.push(update);
    for (const waiter of this.#waiting.filter(({ fits }) => fits(update))) waiter.resolve(update);
    this.#waiting = this.#waiting.filter(({ fits }) => !fits(update));
  }

  next(fits: (update: Update) => boolean): Promise<Update> {
    return new Promise((resolve) => this.#waiting.push({ fits, resolve }));
  }
}

let directory: string;
let recorder: Recorder;
let source: DirectorySource;
const logger = createLogger({ component: 'test', level: 'silent' });
const node = (name: string) => `apiVersion: v1\nkind: Node\nmetadata: { name: ${name} }\n`;
const write = (name: string, text: string) => writeFile(join(directory, name), text);
const has =
  (...names: string[]) =>
  (update: Update) =>
    update.nodes.join() === names.join();

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-source-'));
  recorder = new Recorder();
  source = new DirectorySource({ directory, clock: systemClock, logger }, recorder);
});

afterEach(async () => {
  await source.close();
  await rm(directory, { recursive: true, force: true });
});

describe('DirectorySource', () => {
  it('has told its handler everything when start() resolves', async () => {
    await write('a.yaml', node('a'));
    await source.start();
    expect(recorder.updates).toEqual([{ nodes: ['a'], problems: [] }]);
  });

  it('rejects start() with a clear error when the directory is missing or a file', async () => {
    await write('file', '');
    const open = (path: string) =>
      new DirectorySource({ directory: path, clock: systemClock, logger }, recorder).start();
    await expect(open(join(directory, 'nowhere'))).rejects.toThrow(SourceError);
    await expect(open(join(directory, 'nowhere'))).rejects.toMatchObject({ code: 'DIRECTORY_MISSING' });
    await expect(open(join(directory, 'file'))).rejects.toMatchObject({ code: 'NOT_A_DIRECTORY' });
    expect(recorder.updates).toEqual([]);
  });

  it('hears of new, changed and removed files, also in new directories', async () => {
    await source.start();
    const added = recorder.next(has('a'));
    await write('a.yaml', node('a'));
    await added;
    const changed = recorder.next(has('b'));
    await write('a.yaml', node('b'));
    await changed;
    const deeper = recorder.next(has('b', 'c'));
    await mkdir(join(directory, 'x/y'), { recursive: true });
    await write('x/y/c.yaml', node('c'));
    await deeper;
    const deeperChanged = recorder.next(has('b', 'd'));
    await write('x/y/c.yaml', node('d'));
    await deeperChanged;
    const removed = recorder.next(has('b'));
    await rm(join(directory, 'x'), { recursive: true });
    await removed;
  });

  it('reports a broken file and goes on with its last good version', async () => {
    await write('a.yaml', node('a'));
    await source.start();
    const broken = recorder.next(({ problems }) => problems.length > 0);
    await write('a.yaml', 'kind: [');
    expect((await broken).nodes).toEqual(['a']);
    const repaired = recorder.next(({ problems }) => problems.length === 0);
    await write('a.yaml', node('a2'));
    expect((await repaired).nodes).toEqual(['a2']);
  });

  it('keeps its resources while the directory is away, and picks it up again', async () => {
    await write('a.yaml', node('a'));
    await source.start();
    const away = recorder.next(({ problems }) => problems.length > 0);
    await rename(directory, `${directory}-away`);
    const update = await away;
    expect(update.nodes).toEqual(['a']);
    expect(update.problems[0]).toMatchObject({ file: directory, severity: 'error' });
    expect(update.problems[0]?.message).toMatch(/does not exist.*the last version stays in force/);
    const back = recorder.next(has('b'));
    await rename(`${directory}-away`, directory);
    await write('a.yaml', node('b'));
    expect((await back).problems).toEqual([]);
  });

  it('finds changes that no watch reports, and reads them only after a quiet moment', async () => {
    const clock = new ManualClock();
    await source.close();
    source = new DirectorySource({ directory, clock, logger }, recorder);
    await source.start();
    const update = recorder.next(has('a'));
    await write('a.yaml', node('a'));
    // Moves time on until the source has looked, waited and read; real time only passes in the file system.
    const pump = setInterval(() => clock.advance(1_000), 5);
    await update;
    clearInterval(pump);
    expect(recorder.updates.map(({ nodes }) => nodes)).toEqual([[], ['a']]);
  });

  it('goes on after its handler failed on a change, and lets start() fail with what the handler threw', async () => {
    let failing = false;
    const handler = {
      onResources: (resources: Resources, problems: readonly Problem[]) => {
        recorder.onResources(resources, problems);
        if (failing) throw new Error('Handler failed');
      },
    };
    await source.close();
    source = new DirectorySource({ directory, clock: systemClock, logger }, handler);
    await source.start();
    failing = true;
    const first = recorder.next(has('a'));
    await write('a.yaml', node('a'));
    await first;
    const second = recorder.next(has('b'));
    await write('a.yaml', node('b'));
    expect((await second).problems).toEqual([]);
    const another = new DirectorySource({ directory, clock: systemClock, logger }, handler);
    await expect(another.start()).rejects.toThrow('Handler failed');
    await another.close();
  });

  it('says nothing after close()', async () => {
    await source.start();
    const calls = recorder.updates.length;
    await write('a.yaml', node('a'));
    await source.close();
    await write('b.yaml', node('b'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(recorder.updates.length).toBe(calls);
  });
});
