// SPIFFE identities of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>.

import type { Brand } from './brand.ts';

/** The full URI. */
export type SpiffeId = Brand<string, 'SpiffeId'>;

export interface Identity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}
