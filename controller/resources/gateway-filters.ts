// Filters of HTTPRoutes and GRPCRoutes as the Gateway API defines them. One shape for both: which types a kind of route
// may have is checked where it is translated.

import { z } from 'zod';
import {
  backendObjectReference,
  headerName,
  list,
  port,
  preciseHostname,
  wholeNumber,
} from './gateway-fields.ts';

const header = z.object({ name: headerName, value: z.string().min(1, 'Must not be empty').max(4096) });

const headerEdit = z.object({ set: list(header, 16), add: list(header, 16), remove: list(headerName, 16) });

const path = z.string().max(1024);

const pathModifier = z
  .object({
    type: z.enum(['ReplaceFullPath', 'ReplacePrefixMatch']),
    replaceFullPath: path.optional(),
    replacePrefixMatch: path.optional(),
  })
  .superRefine(({ type, replaceFullPath, replacePrefixMatch }, context) => {
    const full = type === 'ReplaceFullPath';
    const [right, wrong] = full
      ? ['replaceFullPath', 'replacePrefixMatch']
      : ['replacePrefixMatch', 'replaceFullPath'];
    if ((full ? replaceFullPath : replacePrefixMatch) === undefined)
      context.addIssue({ code: 'custom', path: [right], message: `Must be given when type is ${type}` });
    if ((full ? replacePrefixMatch : replaceFullPath) !== undefined)
      context.addIssue({ code: 'custom', path: [wrong], message: `Must not be given when type is ${type}` });
  });

const redirect = z.object({
  scheme: z.enum(['http', 'https']).optional(),
  hostname: preciseHostname.optional(),
  path: pathModifier.optional(),
  port: port.optional(),
  statusCode: z.literal([301, 302, 303, 307, 308]).default(302),
});

const rewrite = z.object({ hostname: preciseHostname.optional(), path: pathModifier.optional() });

const mirror = z
  .object({
    backendRef: backendObjectReference,
    percent: wholeNumber(0, 100).optional(),
    fraction: z
      .object({
        numerator: wholeNumber(0, 0x7fff_ffff),
        denominator: wholeNumber(1, 0x7fff_ffff).default(100),
      })
      .refine(({ numerator, denominator }) => numerator <= denominator, {
        path: ['numerator'],
        message: 'Must not be more than the denominator',
      })
      .optional(),
  })
  .refine(({ percent, fraction }) => percent === undefined || fraction === undefined, {
    path: ['percent'],
    message: 'Only one of percent and fraction may be given',
  });

const origin = z
  .string()
  .max(253)
  .regex(
    /^\*$|^https?:\/\/(((\*\.)?([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$/,
    'Must be an origin such as https://www.example.com, or "*"',
  );

const starAlone = (values: readonly string[]) => !values.includes('*') || values.length === 1;
const starText = '"*" must be the only entry';

const cors = z.object({
  allowOrigins: list(origin, 64).refine(starAlone, starText),
  allowCredentials: z.boolean().default(false),
  allowMethods: list(z.string().min(1), 9).refine(starAlone, starText),
  allowHeaders: list(headerName, 64).refine(starAlone, starText),
  exposeHeaders: list(headerName, 64),
  maxAge: wholeNumber(1, 0x7fff_ffff).default(5),
});

const externalAuth = z
  .object({
    protocol: z.enum(['HTTP', 'GRPC']),
    backendRef: backendObjectReference,
    grpc: z.object({ allowedHeaders: list(headerName, 64) }).optional(),
    http: z
      .object({
        path: path.default(''),
        allowedHeaders: list(headerName, 64),
        allowedResponseHeaders: list(headerName, 64),
      })
      .optional(),
    forwardBody: z.object({ maxSize: wholeNumber(0, 65_535).default(0) }).optional(),
  })
  .superRefine(({ protocol, grpc, http }, context) => {
    if (protocol === 'GRPC' && http !== undefined)
      context.addIssue({
        code: 'custom',
        path: ['http'],
        message: 'Must not be given when protocol is GRPC',
      });
    if (protocol === 'HTTP' && grpc !== undefined)
      context.addIssue({
        code: 'custom',
        path: ['grpc'],
        message: 'Must not be given when protocol is HTTP',
      });
  });

const fieldOfType = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestMirror: 'requestMirror',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  CORS: 'cors',
  ExternalAuth: 'externalAuth',
  ExtensionRef: 'extensionRef',
} as const;

const routeFilter = z
  .object({
    type: z.string(),
    requestHeaderModifier: headerEdit.optional(),
    responseHeaderModifier: headerEdit.optional(),
    requestMirror: mirror.optional(),
    requestRedirect: redirect.optional(),
    urlRewrite: rewrite.optional(),
    cors: cors.optional(),
    externalAuth: externalAuth.optional(),
    extensionRef: z.object({ group: z.string(), kind: z.string(), name: z.string() }).optional(),
  })
  .superRefine((filter, context) => {
    for (const [type, field] of Object.entries(fieldOfType)) {
      const present = filter[field] !== undefined;
      if (present === (filter.type === type)) continue;
      const message = present
        ? `Must only be given when type is ${type}`
        : `Must be given when type is ${type}`;
      context.addIssue({ code: 'custom', path: [field], message });
    }
  });

export type RouteFilterSpec = z.output<typeof routeFilter>;
export type HeaderEditSpec = z.output<typeof headerEdit>;
export type PathModifierSpec = z.output<typeof pathModifier>;

const onlyOnce = ['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestRedirect', 'URLRewrite', 'CORS'];

/** Of a rule or of one backend of a rule. */
export const routeFilters = list(routeFilter, 16).superRefine((filters, context) => {
  const types = filters.map(({ type }) => type);
  for (const [index, type] of types.entries()) {
    if (onlyOnce.includes(type) && types.indexOf(type) < index)
      context.addIssue({ code: 'custom', path: [index], message: `Filter ${type} must not be repeated` });
  }
  if (types.includes('RequestRedirect') && types.includes('URLRewrite')) {
    const path = [types.indexOf('URLRewrite')];
    context.addIssue({ code: 'custom', path, message: 'RequestRedirect and URLRewrite exclude each other' });
  }
});
