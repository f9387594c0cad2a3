import { describe, expect, it } from 'vitest';
import { ztunnelConfig } from './config.ts';

const required = [
  '--node=node-1',
  '--controller=controller.example:15012',
  '--token-file=/run/token',
  '--root-cert=/run/root.pem',
];

function accepted(args: readonly string[], environment: Record<string, string> = {}) {
  const result = ztunnelConfig(args, environment);
  if (!result.ok) throw new Error(result.problems.join('; '));
  return result.values;
}

function problems(args: readonly string[], environment: Record<string, string> = {}): readonly string[] {
  const result = ztunnelConfig(args, environment);
  return result.ok ? [] : result.problems;
}

describe('ztunnelConfig()', () => {
  it('has a default for everything but node, controller, token and root', () => {
    const config = accepted(required);
    expect(config).toMatchObject({
      node: 'node-1',
      controller: 'controller.example:15012',
      workers: 1,
      'admin-port': 15_000,
      'metrics-port': 15_020,
      'readiness-port': 15_021,
      'connect-timeout-ms': 10_000,
      'idle-timeout-ms': 0,
      'unused-release-ms': 300_000,
      'log-level': 'info',
    });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('names all that is missing at once, with flag and variable', () => {
    const missing = problems([]);
    expect(missing).toHaveLength(4);
    for (const [i, name] of ['node', 'controller', 'token-file', 'root-cert'].entries()) {
      const variable = `WEFT_${name.toUpperCase().replace('-', '_')}`;
      expect(missing[i]).toContain(`--${name} (or ${variable}) is required`);
    }
  });

  it('takes a variable where there is no flag, and the flag where there are both', () => {
    const environment = { WEFT_WORKERS: '4', WEFT_LOG_LEVEL: 'debug' };
    expect(accepted(required, environment)).toMatchObject({ workers: 4, 'log-level': 'debug' });
    expect(accepted([...required, '--workers=2'], environment).workers).toBe(2);
  });

  it.each([
    ['--controller=nowhere', 'controller'],
    ['--workers=0', 'workers'],
    ['--workers=two', 'workers'],
    ['--workers=1.5', 'workers'],
    ['--admin-port=65536', 'admin-port'],
    ['--metrics-port=-1', 'metrics-port'],
    ['--connect-timeout-ms=0', 'connect-timeout-ms'],
    ['--connect-timeout-ms=60001', 'connect-timeout-ms'],
    ['--half-closed-timeout-ms=999', 'half-closed-timeout-ms'],
    ['--max-connections=0', 'max-connections'],
    ['--log-level=loud', 'log-level'],
    ['--on-exit=explode', 'on-exit'],
  ])('refuses %s and says what is expected', (flag, name) => {
    const found = problems([...required.filter((arg) => !arg.startsWith(`--${name}=`)), flag]);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(new RegExp(`^--${name} must be .+, got ${JSON.stringify(flag.split('=')[1])}$`));
  });

  it('reports every bad value at once', () => {
    expect(problems([...required, '--workers=0', '--log-level=loud'], { WEFT_ADMIN_PORT: 'x' })).toHaveLength(
      3,
    );
  });

  it('refuses a flag it does not know', () => {
    expect(problems([...required, '--worker=1']).join()).toContain("'--worker'");
  });
});
