// Fields that several kinds of the Gateway API share, with the limits and patterns of its definitions (v1.6, both
// channels), so that a file is refused for what an API server would refuse it for. Fields that are not known here are
// dropped; values of open lists (types of filters, kinds of references) stay texts, and translation judges them.

import { z } from 'zod';

const dnsName = '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*';

export const list = <T extends z.ZodType>(item: T, max: number) =>
  z
    .array(item)
    .max(max, `Must have at most ${max} entries`)
    .optional()
    .transform((items) => items ?? []);

export function wholeNumber(min: number, max: number) {
  const text = `Must be a whole number from ${min} to ${max}`;
  return z.int(text).min(min, text).max(max, text);
}

const portText = 'Must be a port from 1 to 65535';
export const port = z.int(portText).min(1, portText).max(65_535, portText);

const group = z
  .string()
  .max(253)
  .regex(new RegExp(`^$|^${dnsName}$`), 'Must be an API group such as "apps"');
const kind = z.string().regex(/^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$/, 'Must be a kind such as "Service"');
const objectName = z.string().min(1, 'Must not be empty').max(253);
const namespace = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'Must be the name of a namespace');

/** Also the name of a rule. */
export const sectionName = z
  .string()
  .max(253)
  .regex(new RegExp(`^${dnsName}$`), 'Must be lower case letters, digits, "-" and "."');

export const headerName = z
  .string()
  .max(256)
  .regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/, 'Must be the name of a header');

/** GEP-2257. */
export const duration = z
  .string()
  .regex(/^([0-9]{1,5}(h|m|s|ms)){1,4}$/, 'Must be a duration such as 5s, 500ms or 1h30m');

export const hostname = z
  .string()
  .min(1)
  .max(253)
  .regex(new RegExp(`^(\\*\\.)?${dnsName}$`), 'Must be a DNS name in lower case, "*." in front at most');

export const preciseHostname = z
  .string()
  .min(1)
  .max(253)
  .regex(new RegExp(`^${dnsName}$`), 'Must be a DNS name in lower case, without "*"');

export const gatewayGroupName = 'gateway.networking.k8s.io';

/** As written, with what is left out filled in only where it is looked at: statuses repeat it as it was. */
export const parentReference = z.object({
  group: group.optional(),
  kind: kind.optional(),
  namespace: namespace.optional(),
  name: objectName,
  sectionName: sectionName.optional(),
  port: port.optional(),
});

export type ParentReference = z.output<typeof parentReference>;

export const backendObjectReference = z.object({
  group: group.default(''),
  kind: kind.default('Service'),
  name: objectName,
  namespace: namespace.optional(),
  port: port.optional(),
});

export type BackendObjectReference = z.output<typeof backendObjectReference>;

export const backendReference = backendObjectReference.extend({
  weight: wholeNumber(0, 1_000_000).default(1),
});

export const parentReferences = list(parentReference, 32);
export const hostnames = list(hostname, 16);

export const sessionPersistence = z
  .object({
    sessionName: z.string().max(4096).optional(),
    absoluteTimeout: duration.optional(),
    /** In releases before v1.6. */
    idleTimeout: duration.optional(),
    type: z.string().default('Cookie'),
    cookieConfig: z.object({ lifetimeType: z.string().default('Session') }).optional(),
  })
  .superRefine(({ type, absoluteTimeout, cookieConfig }, context) => {
    if (cookieConfig?.lifetimeType === 'Permanent' && absoluteTimeout === undefined) {
      const message = 'Must be given when cookieConfig.lifetimeType is Permanent';
      context.addIssue({ code: 'custom', path: ['absoluteTimeout'], message });
    }
    if (type === 'Header' && cookieConfig !== undefined) {
      const message = 'Must only be given when type is Cookie';
      context.addIssue({ code: 'custom', path: ['cookieConfig'], message });
    }
  });

export type SessionPersistenceSpec = z.output<typeof sessionPersistence>;

/** Rules of one route are told apart by name. */
export function checkRuleNames(
  rules: readonly { readonly name?: string | undefined }[],
  context: z.core.$RefinementCtx,
): void {
  const seen = new Set<string>();
  for (const [index, { name }] of rules.entries()) {
    if (name === undefined) continue;
    if (seen.has(name)) {
      const message = `Another rule of this route has the name "${name}"`;
      context.addIssue({ code: 'custom', path: ['rules', index, 'name'], message });
    }
    seen.add(name);
  }
}

export function checkMatchCount(
  rules: readonly { readonly matches: readonly unknown[] }[],
  context: z.core.$RefinementCtx,
): void {
  const total = rules.reduce((sum, { matches }) => sum + matches.length, 0);
  if (total <= 128) return;
  const message = `Must have at most 128 matches in all rules together, got ${total}`;
  context.addIssue({ code: 'custom', path: ['rules'], message });
}
