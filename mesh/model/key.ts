// Keys of model objects that have a namespace. Both parts come from validated objects: a namespace has no slash,
// so the first slash always ends it.

import type { RequestAuthenticationKey } from './request-authentication.ts';
import type { ServiceKey } from './service.ts';
import type { PolicyKey } from './workload.ts';

export function policyKey(namespace: string, name: string): PolicyKey {
  return `${namespace}/${name}` as PolicyKey;
}

export function requestAuthenticationKey(namespace: string, name: string): RequestAuthenticationKey {
  return `${namespace}/${name}` as RequestAuthenticationKey;
}

export function serviceKey(namespace: string, hostname: string): ServiceKey {
  return `${namespace}/${hostname}` as ServiceKey;
}
