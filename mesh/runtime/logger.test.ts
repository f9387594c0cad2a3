import { afterEach, describe, expect, it } from 'vitest';
import { createLogger, isLogLevel, type LogLevel, logLevel, setLogLevel } from './logger.ts';

class Lines {
  readonly lines: string[] = [];

  write(text: string): void {
    this.lines.push(text);
  }
}

afterEach(() => setLogLevel('info'));

describe('createLogger()', () => {
  it('writes one JSON object a line with level, time, scope and message', () => {
    const out = new Lines();
    createLogger({ component: 'access', destination: out }).info(
      { 'src.addr': '10.0.0.1:1' },
      'connection complete',
    );
    const { time, ...rest } = JSON.parse(out.lines[0] as string);
    expect(rest).toEqual({
      level: 'info',
      scope: 'access',
      message: 'connection complete',
      'src.addr': '10.0.0.1:1',
    });
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it('writes the tabular line of the Istio ztunnel as text', () => {
    const out = new Lines();
    const logger = createLogger({ component: 'access', format: 'text', destination: out });
    logger.info(
      { 'src.addr': '10.0.0.1:1', 'src.workload': 'client', bytes_sent: 80 },
      'connection complete',
    );
    logger.error({ err: new Error('Cannot dial "x"') }, 'connection failed');
    logger.warn('bare');
    const tail = out.lines.map((line) => line.slice(line.indexOf('\t')));
    expect(tail).toEqual([
      '\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:1 src.workload="client" bytes_sent=80\n',
      '\terror\taccess\tconnection failed\terr="Cannot dial \\"x\\""\n',
      '\twarn\taccess\tbare\n',
    ]);
  });

  it('lets no field or message break out of its line', () => {
    const out = new Lines();
    const logger = createLogger({ component: 'a', format: 'text', destination: out });
    logger.info({ name: 'x\ny', 'src.addr': '1\n2' }, 'one\ntwo\tthree');
    expect(out.lines[0]?.slice(out.lines[0].indexOf('\t'))).toBe(
      '\tinfo\ta\tone\\u000atwo\\u0009three\tname="x\\ny" src.addr="1\\n2"\n',
    );
  });
});

describe('setLogLevel()', () => {
  it('changes loggers that exist and ones made later', () => {
    const out = new Lines();
    const early = createLogger({ component: 'early', destination: out });
    early.debug('no');
    setLogLevel('debug');
    early.debug('yes');
    createLogger({ component: 'late', destination: out }).debug('yes');
    expect(out.lines.map((line) => JSON.parse(line).scope)).toEqual(['early', 'late']);
    expect(logLevel()).toBe('debug');
  });

  it('refuses an unknown level and keeps the old one', () => {
    expect(() => setLogLevel('loud' as LogLevel)).toThrow('Unknown log level "loud"');
    expect(isLogLevel('toString')).toBe(false);
    expect(logLevel()).toBe('info');
  });
});
