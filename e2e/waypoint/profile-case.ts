// A feature of the mesh profile as data: routes, requests, and what must become of each; and short ways to write them.

import type { Call } from './caller-main.ts';

export type Backend = 'echo-v1' | 'echo-v2';

export interface Expected {
  /** Default 200. */
  readonly status?: number;
  /** The pod that answers; default either. */
  readonly backend?: Backend;
  /** Of the request as the application saw it; a list for several lines or values. */
  readonly seen?: { readonly path?: string; readonly headers?: Readonly<Record<string, readonly string[]>> };
  readonly notSeen?: readonly string[];
  /** Of the answer. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly absent?: readonly string[];
}

/** Without host, the Service `echo`; port 80 unless given. */
export interface Case extends Partial<Call> {
  readonly from?: 'shop' | 'buyers';
  readonly expect: Expected;
}

export interface Feature {
  /** The conformance test's ShortName. */
  readonly name: string;
  readonly routes: readonly object[];
  readonly cases: readonly Case[];
}

interface RouteFields {
  readonly kind?: 'HTTPRoute' | 'GRPCRoute';
  readonly parent?: string;
  readonly parentPort?: number | 'any';
  readonly parentNamespace?: string;
  readonly namespace?: string;
}

export function route(name: string, rules: readonly object[], fields: RouteFields = {}): object {
  const {
    kind = 'HTTPRoute',
    parent = 'echo',
    parentPort = 80,
    parentNamespace,
    namespace = 'shop',
  } = fields;
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind,
    metadata: { name, namespace },
    spec: {
      parentRefs: [
        {
          group: '',
          kind: 'Service',
          name: parent,
          ...(parentPort !== 'any' && { port: parentPort }),
          ...(parentNamespace !== undefined && { namespace: parentNamespace }),
        },
      ],
      rules,
    },
  };
}

export const path = (value: string, type = 'PathPrefix') => ({ path: { type, value } });
export const header = (name: string, value: string) => ({ headers: [{ name, value }] });
export const query = (value: string) => ({ queryParams: [{ name: 'animal', value }] });
export const to = (name: string, port = 8080, more: object = {}) => ({
  backendRefs: [{ name, port, ...more }],
});
export const v1: Expected = { backend: 'echo-v1' };
export const v2: Expected = { backend: 'echo-v2' };
export const unrouted: Expected = { status: 404 };
