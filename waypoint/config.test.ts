import { describe, expect, it } from 'vitest';
import { gatewayName, stateDirectoryOf, waypointConfig } from './config.ts';

const required = [
  '--gateway=shop/gate',
  '--controller=controller.example:15012',
  '--token-file=/run/token',
  '--root-cert=/run/root.pem',
];

function accepted(args: readonly string[], environment: Record<string, string> = {}) {
  const result = waypointConfig(args, environment);
  if (!result.ok) throw new Error(result.problems.join('; '));
  return result.values;
}

function problems(args: readonly string[]): readonly string[] {
  const result = waypointConfig(args, {});
  return result.ok ? [] : result.problems;
}

describe('waypointConfig()', () => {
  it('has a default for everything but gateway, controller, token and root', () => {
    const config = accepted(required);
    expect(config).toMatchObject({
      gateway: 'shop/gate',
      'hbone-address': undefined,
      'plain-listener': [],
      workers: 1,
      'admin-port': 15_000,
      'metrics-port': 15_020,
      'readiness-port': 15_021,
      'drain-timeout-ms': 25_000,
    });
    expect(Object.isFrozen(config)).toBe(true);
    expect(gatewayName(config)).toEqual({ namespace: 'shop', name: 'gate' });
  });

  it('names all that is missing at once', () => {
    expect(problems([]).map((problem) => problem.split(' ')[0])).toEqual([
      '--gateway',
      '--controller',
      '--token-file',
      '--root-cert',
    ]);
  });

  it('reads addresses with their ports, 0 included', () => {
    expect(accepted([...required, '--hbone-address=127.0.0.1:0'])['hbone-address']).toEqual({
      address: '127.0.0.1',
      port: 0,
    });
    expect(accepted([...required, '--hbone-address=[::1]:15008'])['hbone-address']).toEqual({
      address: '::1',
      port: 15_008,
    });
  });

  it('reads plain listeners, several of them', () => {
    const config = accepted([
      ...required,
      '--plain-listener=127.0.0.1:8080=shop/api.shop.svc.cluster.local:80',
      '--plain-listener=[::1]:0=shop/web:81',
    ]);
    expect(config['plain-listener']).toEqual([
      {
        at: { address: '127.0.0.1', port: 8080 },
        service: 'shop/api.shop.svc.cluster.local',
        port: 80,
      },
      { at: { address: '::1', port: 0 }, service: 'shop/web', port: 81 },
    ]);
  });

  it.each([
    ['--gateway=gate', 'gateway'],
    ['--gateway=shop/gate/x', 'gateway'],
    ['--gateway=shop/../etc', 'gateway'],
    ['--gateway=Shop/gate', 'gateway'],
    ['--hbone-address=host.example:15008', 'hbone-address'],
    ['--hbone-address=127.0.0.1', 'hbone-address'],
    ['--hbone-address=127.0.0.1:65536', 'hbone-address'],
    ['--plain-listener=127.0.0.1:80=api:80', 'plain-listener'],
    ['--plain-listener=127.0.0.1:80=shop/api:0', 'plain-listener'],
    ['--workers=0', 'workers'],
  ])('refuses %s', (flag, name) => {
    const found = problems([...required.filter((one) => !one.startsWith(flag.slice(0, 9))), flag]);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(name);
  });

  it('keeps state apart for each Gateway, or nothing', () => {
    expect(stateDirectoryOf(accepted(required))).toBe('/var/lib/weft/waypoint/shop.gate');
    expect(stateDirectoryOf(accepted([...required, '--state-dir=/tmp/x']))).toBe('/tmp/x');
    expect(stateDirectoryOf(accepted([...required, '--state-dir=none']))).toBeUndefined();
  });
});
