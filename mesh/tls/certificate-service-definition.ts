// The certificate service as @grpc/grpc-js wants it described: path and codecs, used by client and server (WIRE 4).

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { MethodDefinition } from '@grpc/grpc-js';
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  type IstioCertificateResponse,
  IstioCertificateResponseSchema,
} from '../xds/gen/istio/v1/auth/ca_pb.ts';

export type CreateCertificateMethod = MethodDefinition<IstioCertificateRequest, IstioCertificateResponse>;

export const certificateServiceDefinition = {
  createCertificate: {
    path: '/istio.v1.auth.IstioCertificateService/CreateCertificate',
    originalName: 'CreateCertificate',
    requestStream: false,
    responseStream: false,
    requestSerialize: (request) => Buffer.from(toBinary(IstioCertificateRequestSchema, request)),
    requestDeserialize: (bytes) => fromBinary(IstioCertificateRequestSchema, bytes),
    responseSerialize: (response) => Buffer.from(toBinary(IstioCertificateResponseSchema, response)),
    responseDeserialize: (bytes) => fromBinary(IstioCertificateResponseSchema, bytes),
  } satisfies CreateCertificateMethod,
} as const;

/** Key of the request's metadata that names the identity to sign for when it is not the caller's own (WIRE 4). */
export const impersonatedIdentityKey = 'ImpersonatedIdentity';

export function certificateResponse(certChain: readonly string[]): IstioCertificateResponse {
  return create(IstioCertificateResponseSchema, { certChain: [...certChain] });
}
