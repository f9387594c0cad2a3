// AuthorizationPolicy <-> weft.v1.HttpAuthorization: the whole policy, request conditions included. A schema that is
// looser than the model would change what a policy admits, so everything unknown refuses the policy.

import type { Any } from '@bufbuild/protobuf/wkt';
import { z } from 'zod';
import { templateFault } from '../authz/path-template.ts';
import type * as model from '../model/authorization.ts';
import type { PolicyKey } from '../model/workload.ts';
import { decodeDocument, eitherKind, encodeDocument, exactly } from './document.ts';
import { cidr, flag, namespacedKey, port, requestTarget, someText, text, texts } from './document-fields.ts';
import { HttpAuthorizationSchema } from './gen/weft/v1/weft_pb.ts';
import { reject } from './decode-field.ts';
import type { Decoded, EncodedResource } from './resource.ts';

/** A resource named by the policy's key. */
export function encodeHttpAuthorization(policy: model.AuthorizationPolicy): EncodedResource {
  return encodeDocument(HttpAuthorizationSchema, policy, policy.key);
}

/** Never throws; the reason names the field. */
export function decodeHttpAuthorization(any: Any): Decoded<model.AuthorizationPolicy> {
  return decodeDocument(any, {
    message: HttpAuthorizationSchema,
    schema: authorizationPolicy,
    check: ({ scope, targets = [] }) => {
      const fits = { target: targets.length > 0, workload: true }[scope as string] ?? targets.length === 0;
      if (!fits) reject('targets', `does not fit the scope "${scope}"`);
    },
  });
}

const stringMatches = z.array(
  eitherKind<model.StringMatch>([
    exactly({ kind: z.enum(['exact', 'prefix', 'suffix']), value: text }),
    exactly({ kind: z.literal('presence') }),
  ]),
);

const pathMatches = z.array(
  eitherKind<model.PathMatch>([
    exactly({ kind: z.enum(['exact', 'prefix', 'suffix']), value: text }),
    exactly({ kind: z.literal('template'), value: text.refine(isPathTemplate, 'must be a path template') }),
    exactly({ kind: z.literal('presence') }),
  ]),
);

function isPathTemplate(value: string): boolean {
  return templateFault(value) === undefined;
}

const condition = { values: stringMatches, notValues: stringMatches };

const httpConditions = exactly<model.HttpMatchConditions>({
  hosts: stringMatches,
  notHosts: stringMatches,
  methods: stringMatches,
  notMethods: stringMatches,
  paths: pathMatches,
  notPaths: pathMatches,
  requestPrincipals: stringMatches,
  notRequestPrincipals: stringMatches,
  headers: z.array(exactly<model.NamedCondition>({ name: someText, ...condition })),
  claims: z.array(exactly<model.HttpMatchConditions['claims'][number]>({ path: texts.min(1), ...condition })),
});

const cidrs = z.array(cidr);
const ports = z.array(z.union([port, z.literal(0)]));
const serviceAccounts = z.array(
  exactly<model.ServiceAccountMatch>({ namespace: text, serviceAccount: text }),
);

const match = exactly<model.Match>({
  namespaces: stringMatches,
  notNamespaces: stringMatches,
  principals: stringMatches,
  notPrincipals: stringMatches,
  sourceIps: cidrs,
  notSourceIps: cidrs,
  destinationIps: cidrs,
  notDestinationIps: cidrs,
  destinationPorts: ports,
  notDestinationPorts: ports,
  serviceAccounts,
  notServiceAccounts: serviceAccounts,
  http: httpConditions.optional(),
});

const rule = exactly<model.Rule>({
  name: text,
  clauses: z.array(exactly<model.Rule['clauses'][number]>({ matches: z.array(match) })),
});

const authorizationPolicy = exactly<model.AuthorizationPolicy>({
  key: namespacedKey.transform((value) => value as PolicyKey),
  name: someText,
  namespace: someText,
  scope: z.enum(['global', 'namespace', 'workload', 'target']),
  targets: z.array(requestTarget).optional(),
  action: z.enum(['allow', 'deny', 'audit']),
  dryRun: flag,
  rules: z.array(rule),
});
