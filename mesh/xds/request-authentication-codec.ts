// RequestAuthentication <-> weft.v1.RequestAuthentication.

import type { Any } from '@bufbuild/protobuf/wkt';
import { z } from 'zod';
import type {
  JwtRule,
  RequestAuthentication,
  RequestAuthenticationKey,
  TokenLocation,
} from '../model/request-authentication.ts';
import { decodeDocument, eitherKind, encodeDocument, exactly } from './document.ts';
import { flag, headerName, namespacedKey, requestTarget, someText, text, texts } from './document-fields.ts';
import { RequestAuthenticationSchema } from './gen/weft/v1/weft_pb.ts';
import type { Decoded, EncodedResource } from './resource.ts';

/** A resource named by its key. */
export function encodeRequestAuthentication(authentication: RequestAuthentication): EncodedResource {
  return encodeDocument(RequestAuthenticationSchema, authentication, authentication.key);
}

/** Never throws; the reason names the field. */
export function decodeRequestAuthentication(any: Any): Decoded<RequestAuthentication> {
  return decodeDocument(any, { message: RequestAuthenticationSchema, schema: requestAuthentication });
}

const location = eitherKind<TokenLocation>([
  exactly({ kind: z.literal('header'), name: headerName, prefix: text }),
  exactly({ kind: z.enum(['cookie', 'query']), name: someText }),
]);

const keys = eitherKind<JwtRule['keys']>([
  exactly({ kind: z.literal('url'), url: someText }),
  exactly({ kind: z.literal('inline'), jwks: someText }),
]);

const jwtRule = exactly<JwtRule>({
  issuer: someText,
  audiences: texts,
  keys,
  locations: z.array(location).min(1),
  claimHeaders: z.array(exactly<JwtRule['claimHeaders'][number]>({ claim: someText, header: headerName })),
  forward: flag,
  payloadHeader: headerName.optional(),
});

const requestAuthentication = exactly<RequestAuthentication>({
  key: namespacedKey.transform((value) => value as RequestAuthenticationKey),
  namespace: text,
  targets: z.array(requestTarget).min(1),
  rules: z.array(jwtRule),
});
