import { describe, expect, test } from 'vitest';
import type { PortRouting } from '../../mesh/model/routing.ts';
import { PortRoutes, routesFor } from './consumer-routes.ts';
import { makeGrpcRule, makeHead, makeRoutes, makeRule } from './testing/route-fixture.ts';

const port: PortRouting = {
  port: 80,
  routes: makeRoutes(makeRule('owner')),
  consumers: [
    { namespace: 'client-a', routes: makeRoutes(makeRule('a')) },
    { namespace: 'client-b', routes: makeRoutes(makeRule('b')) },
  ],
};

describe('routesFor()', () => {
  test('a client gets the routes of its own namespace in place of the owner’s', () => {
    expect(routesFor(port, 'client-a')).toBe(port.consumers[0]?.routes);
    expect(routesFor(port, 'client-b')).toBe(port.consumers[1]?.routes);
  });

  test('every other client gets the owner’s', () => {
    expect(routesFor(port, 'elsewhere')).toBe(port.routes);
    expect(routesFor(port, undefined)).toBe(port.routes);
    expect(routesFor({ ...port, consumers: [] }, 'client-a')).toBe(port.routes);
  });
});

test('PortRoutes compiles a set once and matches with it', () => {
  const routes = new PortRoutes(port);
  const taken = (namespace: string | undefined) => routes.for(namespace).match(makeHead('/'))?.rule.name.rule;
  expect(['client-a', 'client-b', 'elsewhere', undefined].map(taken)).toEqual(['a', 'b', 'owner', 'owner']);
  expect(routes.for('elsewhere')).toBe(routes.for(undefined));
});

test('PortRoutes tells once of each match that takes no requests', () => {
  const told: string[] = [];
  const mixed = makeRoutes(makeRule('plain'), makeGrpcRule('grpc'));
  const routes = new PortRoutes(
    { port: 80, routes: mixed, consumers: [] },
    { problem: (message) => told.push(message) },
  );
  for (let i = 0; i < 2; i++) routes.for(undefined);
  expect(told).toEqual([
    expect.stringMatching(/^HTTPRoute .*: a match of rule plain takes no requests: .*GRPCRoute/),
  ]);
});
