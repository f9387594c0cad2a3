// GatewayClass, Gateway and ReferenceGrant as far as a mesh reads them.

import { z } from 'zod';
import { hostname, list, port, sectionName } from './gateway-fields.ts';
import type { ObjectMeta } from './object-meta.ts';

const labels = z.record(z.string(), z.string()).default({});

const selector = z.object({
  matchLabels: labels,
  matchExpressions: list(
    z.object({ key: z.string(), operator: z.string(), values: list(z.string(), 1_000) }),
    1_000,
  ),
});

const allowedNamespaces = z.object({ from: z.string().default('Same'), selector: selector.optional() });

const listener = z.object({
  name: sectionName,
  hostname: hostname.optional(),
  port,
  protocol: z.string().min(1).max(255),
  allowedRoutes: z
    .object({ namespaces: allowedNamespaces.default({ from: 'Same' }) })
    .default({ namespaces: { from: 'Same' } }),
});

const parametersReference = z.object({
  group: z.string(),
  kind: z.string(),
  name: z.string().min(1).max(253),
});

const gatewaySpec = z.object({
  gatewayClassName: z.string().min(1, 'Must not be empty').max(253),
  /** May be empty where ListenerSets are allowed. */
  listeners: z.array(listener).max(64).default([]),
  infrastructure: z
    .object({ labels, annotations: labels, parametersRef: parametersReference.optional() })
    .optional(),
});

const classSpec = z.object({
  controllerName: z.string().min(1).max(253),
  parametersRef: parametersReference.extend({ namespace: z.string().optional() }).optional(),
});

const grantSpec = z.object({
  from: z
    .array(z.object({ group: z.string(), kind: z.string(), namespace: z.string() }))
    .min(1)
    .max(16),
  to: z
    .array(z.object({ group: z.string(), kind: z.string(), name: z.string().optional() }))
    .min(1)
    .max(16),
});

export const gatewaySchema = z.object({ spec: gatewaySpec });
export const gatewayClassSchema = z.object({ spec: classSpec });
export const referenceGrantSchema = z.object({ spec: grantSpec });

export interface GatewayObject {
  readonly metadata: ObjectMeta;
  readonly spec: z.output<typeof gatewaySpec>;
}
export interface GatewayClassObject {
  readonly metadata: ObjectMeta;
  readonly spec: z.output<typeof classSpec>;
}
export interface ReferenceGrantObject {
  readonly metadata: ObjectMeta;
  readonly spec: z.output<typeof grantSpec>;
}
export type ListenerSpec = z.output<typeof listener>;
export type LabelSelectorSpec = z.output<typeof selector>;
