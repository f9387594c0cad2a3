// GRPCRoute as the Gateway API defines it (v1.6, both channels).

import { z } from 'zod';
import {
  backendReference,
  checkMatchCount,
  checkRuleNames,
  headerName,
  hostnames,
  list,
  parentReferences,
  sectionName,
  sessionPersistence,
} from './gateway-fields.ts';
import { routeFilters } from './gateway-filters.ts';
import type { ObjectMeta } from './object-meta.ts';

const method = z
  .object({
    type: z.string().default('Exact'),
    service: z.string().max(1024).optional(),
    method: z.string().max(1024).optional(),
  })
  .superRefine((match, context) => {
    if (match.service === undefined && match.method === undefined)
      context.addIssue({ code: 'custom', path: [], message: 'One of service and method must be given' });
    if (match.type !== 'Exact') return;
    if (match.service !== undefined && !/^\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$/i.test(match.service))
      context.addIssue({
        code: 'custom',
        path: ['service'],
        message: 'Must be a service such as shop.v1.Cart',
      });
    if (match.method !== undefined && !/^[A-Za-z_][A-Za-z_0-9]*$/.test(match.method))
      context.addIssue({ code: 'custom', path: ['method'], message: 'Must be the name of a method' });
  });

const match = z.object({
  method: method.optional(),
  headers: list(
    z.object({
      type: z.string().default('Exact'),
      name: headerName,
      value: z.string().min(1, 'Must not be empty').max(4096),
    }),
    16,
  ),
});

const rule = z.object({
  name: sectionName.optional(),
  matches: list(match, 64),
  filters: routeFilters,
  backendRefs: list(backendReference.extend({ filters: routeFilters }), 16),
  sessionPersistence: sessionPersistence.optional(),
});

const spec = z
  .object({ parentRefs: parentReferences, hostnames, rules: list(rule, 16) })
  .superRefine(({ rules }, context) => {
    checkRuleNames(rules, context);
    checkMatchCount(rules, context);
  });

export const grpcRouteSchema = z.object({ spec });

export interface GrpcRouteObject {
  readonly metadata: ObjectMeta;
  readonly spec: z.output<typeof spec>;
}
export type GrpcRouteRuleSpec = z.output<typeof rule>;
export type GrpcRouteMatchSpec = z.output<typeof match>;
