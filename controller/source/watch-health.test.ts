import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { KubeError, type KubeErrorCode } from '../kubernetes/kube-error.ts';
import { WatchHealth } from './watch-health.ts';

const works = { synced: true };
const fails = (code: KubeErrorCode) => ({ synced: true, failure: new KubeError(code, 'why') });

function open() {
  const lines: string[] = [];
  const clock = new ManualClock();
  const heard = { problems: 0, answers: 0 };
  const health = new WatchHealth({
    server: 'https://api.example',
    clock,
    logger: createLogger({
      component: 'test',
      level: 'info',
      destination: { write: (line: string) => void lines.push(line) },
    }),
    onProblems: () => {
      heard.problems += 1;
    },
    onAnswersAgain: () => {
      heard.answers += 1;
    },
  });
  const said = (part: string) => lines.filter((line) => line.includes(part)).length;
  return { clock, health, heard, said };
}

describe('WatchHealth', () => {
  it('says of an outage once that it began and once that it ended, with the last watch', () => {
    const { health, said } = open();
    for (const kind of ['Pod', 'Node']) health.onState(kind, fails('UNREACHABLE'));
    expect(said('does not answer')).toBe(1);
    health.onState('Pod', works);
    expect(said('answers again')).toBe(0);
    health.onState('Node', works);
    expect(said('answers again')).toBe(1);
  });

  it('tells those that wait when a watch works again that an outage had broken, not one that was refused', () => {
    const { health, heard } = open();
    health.onState('Pod', works);
    health.onState('Pod', fails('FORBIDDEN'));
    health.onState('Pod', works);
    expect(heard.answers).toBe(0);
    health.onState('Pod', fails('SERVER'));
    health.onState('Pod', works);
    expect(heard.answers).toBe(1);
  });

  it('makes a failure a problem after ten seconds, and none of it when it is over', () => {
    const { clock, health, heard } = open();
    health.onState('Pod', fails('FORBIDDEN'));
    expect(health.problems()).toEqual([]);
    clock.advance(10_000);
    expect(heard.problems).toBe(1);
    expect(health.problems().map(({ message }) => message)).toEqual([
      'Watch of Pod fails: why; what is known stays in force',
    ]);
    health.onState('Pod', works);
    expect(heard.problems).toBe(2);
    expect(health.problems()).toEqual([]);
  });

  it('has no problem of a kind that is no longer watched', () => {
    const { clock, health } = open();
    health.onState('Pod', fails('FORBIDDEN'));
    health.forget('Pod');
    clock.advance(10_000);
    expect(health.problems()).toEqual([]);
  });
});
