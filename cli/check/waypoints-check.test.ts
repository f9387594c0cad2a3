import { describe, expect, test } from 'vitest';
import type { Condition, GatewayFact } from './cluster-facts.ts';
import { healthyFacts } from './testing/healthy-facts.ts';
import { checkWaypoints } from './waypoints-check.ts';

function gateway(
  conditions: readonly Condition[] | undefined,
  gatewayClassName = 'weft-waypoint',
): GatewayFact {
  const status = conditions === undefined ? {} : { status: { conditions } };
  return { metadata: { name: 'gate', namespace: 'shop' }, spec: { gatewayClassName }, ...status };
}

describe('checkWaypoints()', () => {
  test.each([
    ['nobody has looked at', undefined, 'is not Accepted (nobody has said)'],
    [
      'is not accepted',
      [{ type: 'Accepted', status: 'False', reason: 'Invalid', message: 'no listener' }],
      'is not Accepted (Invalid: no listener)',
    ],
    [
      'is not programmed',
      [
        { type: 'Accepted', status: 'True' },
        { type: 'Programmed', status: 'Unknown', reason: 'Pending' },
      ],
      'is not Programmed (Pending)',
    ],
  ])('names a Gateway that %s', (_, conditions, what) => {
    const { findings } = checkWaypoints(healthyFacts({ gateways: [gateway(conditions)] })) ?? {};
    expect(findings).toMatchObject([{ level: 'error', where: 'gateway shop/gate', what }]);
  });

  test('has nothing to say of one that runs', () => {
    const conditions = ['Accepted', 'Programmed'].map((type) => ({ type, status: 'True' }));
    expect(checkWaypoints(healthyFacts({ gateways: [gateway(conditions)] }))?.findings).toEqual([]);
  });

  test('leaves Gateways of others alone, and is silent without any', () => {
    expect(checkWaypoints(healthyFacts({ gateways: [gateway(undefined, 'nginx')] }))).toBeUndefined();
    expect(checkWaypoints(healthyFacts())).toBeUndefined();
  });
});
