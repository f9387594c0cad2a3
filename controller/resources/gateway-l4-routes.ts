// TCPRoute and TLSRoute as the Gateway API defines them: one rule each, which sends connections to backends.

import { z } from 'zod';
import { backendReference, hostname, parentReferences, sectionName } from './gateway-fields.ts';
import type { ObjectMeta } from './object-meta.ts';

const rule = z.object({
  name: sectionName.optional(),
  backendRefs: z.array(backendReference).min(1, 'Must not be empty').max(16),
});

/** One since v1.6; earlier definitions let more pass, of which the first counts. */
const rules = z.array(rule).min(1, 'Must not be empty').max(16);

const tcpSpec = z.object({ parentRefs: parentReferences, rules });

const tlsSpec = z.object({
  parentRefs: parentReferences,
  hostnames: z
    .array(hostname.refine((name) => !/^[0-9.]+$/.test(name), 'Must be a DNS name: SNI holds no addresses'))
    .max(1024)
    .default([]),
  rules,
});

export const tcpRouteSchema = z.object({ spec: tcpSpec });
export const tlsRouteSchema = z.object({ spec: tlsSpec });

export interface TcpRouteObject {
  readonly metadata: ObjectMeta;
  readonly spec: z.output<typeof tcpSpec>;
}
export interface TlsRouteObject {
  readonly metadata: ObjectMeta;
  readonly spec: z.output<typeof tlsSpec>;
}
export type L4RouteRuleSpec = z.output<typeof rule>;
