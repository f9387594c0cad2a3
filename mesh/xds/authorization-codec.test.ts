import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { AnySchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { emptyHttp, emptyMatch } from '../model/authorization.ts';
import { makePolicy } from '../model/fixture.ts';
import { decodeAuthorization, encodeAuthorization } from './authorization-codec.ts';
import { Action, AuthorizationSchema } from './gen/istio/security/authorization_pb.ts';
import { AuthorizationDetailsSchema } from './gen/weft/v1/weft_pb.ts';
import { authorizationArbitrary } from './testing/model-arbitrary.ts';
import { authorizationType } from './type-urls.ts';

function decodeWire(policy: MessageInitShape<typeof AuthorizationSchema>) {
  const value = toBinary(AuthorizationSchema, create(AuthorizationSchema, policy));
  return decodeAuthorization(create(AnySchema, { typeUrl: authorizationType, value }), 'ns/name');
}

describe('encodeAuthorization() and decodeAuthorization()', () => {
  test('give back every policy unchanged', () => {
    fc.assert(
      fc.property(authorizationArbitrary, (policy) => {
        const { any, name } = encodeAuthorization(policy);
        expect(decodeAuthorization(any, name)).toEqual({ ok: true, value: policy });
      }),
    );
  });

  test('refuse what the message has no place for instead of dropping it', () => {
    const http = { ...emptyHttp, methods: [{ kind: 'exact' as const, value: 'GET' }] };
    const rules = [{ name: '', clauses: [{ matches: [{ ...emptyMatch, http }] }] }];
    const targets = [{ kind: 'namespace' as const, namespace: 'shop' }];
    for (const fields of [{ rules }, { targets }, { scope: 'target' as const, targets }])
      expect(() => encodeAuthorization(makePolicy('shop', 'p', fields))).toThrow('is for waypoints');
  });

  test('send AUDIT so that a node tunnel without our extension enforces nothing', () => {
    fc.assert(
      fc.property(authorizationArbitrary, (policy) => {
        const wire = fromBinary(
          AuthorizationSchema,
          encodeAuthorization({ ...policy, action: 'audit' }).any.value,
        );
        expect([wire.action, wire.dryRun]).toEqual([Action.ALLOW, true]);
      }),
    );
  });
});

describe('decodeAuthorization()', () => {
  test('stores a policy under the name of the resource', () => {
    expect(decodeWire({ name: 'b', namespace: 'a' })).toMatchObject({ value: { key: 'ns/name', name: 'b' } });
  });

  const range = (address: readonly number[], length: number) => ({
    address: Uint8Array.from(address),
    length,
  });

  test.each([
    ['namespaces', 'namespaces', {}],
    ['notNamespaces', 'not_namespaces', {}],
    ['principals', 'principals', {}],
    ['notPrincipals', 'not_principals', {}],
    ['sourceIps', 'source_ips', range([0, 0, 0, 0], 33)],
    ['notSourceIps', 'not_source_ips', range([10, 0, 0], 8)],
    ['destinationIps', 'destination_ips', range([], 0)],
    ['notDestinationIps', 'not_destination_ips', range(Array(16).fill(0), 129)],
  ])('refuses a policy with a value in %s that means nothing, and names it', (property, field, bad) => {
    const good = field.endsWith('ips')
      ? range([10, 0, 0, 0], 8)
      : { matchType: { case: 'exact', value: 'a' } };
    const decoded = decodeWire({
      rules: [{ clauses: [{ matches: [{ [property]: [good, bad] }] }] }],
    });
    expect(decoded.ok ? 'accepted' : decoded.reason).toContain(
      `Field rules[0].clauses[0].matches[0].${field}[1] `,
    );
  });

  const audit = (action: number) => ({
    config: create(AnySchema, {
      typeUrl: 'type.googleapis.com/weft.v1.AuthorizationDetails',
      value: toBinary(
        AuthorizationDetailsSchema,
        create(AuthorizationDetailsSchema, { action: action as never, ruleNames: action === 0 ? ['x'] : [] }),
      ),
    }),
  });

  test.each([
    ['an unknown scope', { scope: 3 as never }, 'Field scope has the unknown value 3'],
    ['an unknown action', { action: 2 as never }, 'Field action has the unknown value 2'],
    [
      'an AUDIT policy that others would enforce',
      { extensions: [audit(1)] },
      'Field action must be ALLOW with',
    ],
    [
      'an AUDIT policy that denies',
      { action: 1, dryRun: true, extensions: [audit(1)] },
      'Field action must be',
    ],
    [
      'an unknown action of ours',
      { dryRun: true, extensions: [audit(9)] },
      'extension action has the unknown',
    ],
    ['rule names that do not fit', { extensions: [audit(0)] }, 'Field rule_names has 1 names for 0 rules'],
    [
      'a port above 65535',
      { rules: [{ clauses: [{ matches: [{ destinationPorts: [80, 65_616] }] }] }] },
      'Field rules[0].clauses[0].matches[0].destination_ports[1] must be a port, got 65616',
    ],
  ] as const)('refuses %s and names the field', (_case, policy, reason) => {
    const decoded = decodeWire(policy as unknown as MessageInitShape<typeof AuthorizationSchema>);
    expect(decoded.ok ? 'accepted' : decoded.reason).toContain(reason);
  });

  test('refuses a resource without a name', () => {
    const any = create(AnySchema, { typeUrl: authorizationType });
    expect(decodeAuthorization(any, '')).toMatchObject({ ok: false });
  });
});
