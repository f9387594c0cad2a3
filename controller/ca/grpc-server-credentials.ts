// TLS for the controller's gRPC server: presents the current server certificate, and the next one to connections made
// after a renewal. Callers show a token, not a certificate, so none is asked for.

import { experimental, type ServerCredentials } from '@grpc/grpc-js';
import type { ServerCertificate } from './server-certificate.ts';

type IdentityListener = experimental.IdentityCertificateUpdateListener;

export function grpcServerCredentials(certificate: ServerCertificate): ServerCredentials {
  const subscriptions = new Map<IdentityListener, () => void>();
  const provider: experimental.CertificateProvider = {
    addIdentityCertificateListener(listener) {
      const stop = certificate.subscribe(({ chainPem, privateKeyPem }) =>
        listener({ certificate: Buffer.from(chainPem), privateKey: Buffer.from(privateKeyPem) }),
      );
      subscriptions.set(listener, stop);
    },
    removeIdentityCertificateListener(listener) {
      subscriptions.get(listener)?.();
      subscriptions.delete(listener);
    },
    addCaCertificateListener: () => undefined,
    removeCaCertificateListener: () => undefined,
  };
  // Identity first, then CA: the declared parameter names of @grpc/grpc-js 1.14 have them the wrong way round.
  return experimental.createCertificateProviderServerCredentials(provider, null, false);
}
