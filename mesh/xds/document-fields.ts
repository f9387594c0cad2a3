// Schemas of the fields that several documents share. Each yields the model's own branded types, checked.

import { z } from 'zod';
import { type Cidr, type IpAddress, makeCidr, parseIpAddress } from '../model/ip-address.ts';
import type { RequestTarget } from '../model/request-authentication.ts';
import type { GatewayKey } from '../model/routing.ts';
import type { ServiceKey } from '../model/service.ts';
import { eitherKind, exactly } from './document.ts';

export const text = z.string();
export const someText = z.string().min(1, 'must not be empty');
export const texts = z.array(text);
export const flag = z.boolean();
export const port = z.int().min(1).max(65_535);
export const count = z.int().min(0);
/** Milliseconds; at most what a 32 bit timer takes. */
export const ms = z.int().min(0).max(0x7fff_ffff);
export const percent = z.number().min(0).max(100);
export const status = z.int().min(100).max(599);
/** As the model has all header names it compares. */
export const headerName = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9a-z-]+$/, 'must be a header name in lower case');

const key = z.string().regex(/^[^/]+\/[^/]+$/, 'must be "namespace/name"');
export const gatewayKey = key.transform((value) => value as GatewayKey);
export const serviceKey = z
  .string()
  .regex(/^[^/]*\/[^/]+$/, 'must be "namespace/hostname"')
  .transform((value) => value as ServiceKey);
export const namespacedKey = key;

/** Canonical only: text equality is address equality. */
export const ipAddress: z.ZodType<IpAddress> = z
  .string()
  .refine((value) => parseIpAddress(value) === value, 'must be a canonical IP address')
  .transform((value) => value as IpAddress);

export const cidr: z.ZodType<Cidr> = exactly<Cidr>({ address: ipAddress, length: count }).refine(
  ({ address, length }) => makeCidr(address, length)?.address === address,
  'must be an address without bits beyond its prefix length',
);

export const requestTarget: z.ZodType<RequestTarget> = eitherKind<RequestTarget>([
  exactly({ kind: z.literal('gateway'), gateway: gatewayKey }),
  exactly({ kind: z.literal('service'), service: serviceKey }),
  exactly({ kind: z.literal('namespace'), namespace: text }),
]);
