// The certificate service as client and server of this project name it (WIRE 4).

import { IstioCertificateService } from '../xds/gen/istio/v1/auth/ca_pb.ts';
import { grpcService } from '../xds/grpc-service.ts';

export const certificateService = grpcService(IstioCertificateService);

/** Key of the request's metadata that names the identity to sign for when it is not the caller's own. */
export const impersonatedIdentityKey = 'ImpersonatedIdentity';
