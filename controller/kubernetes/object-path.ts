// The path of one object below the collection over all namespaces that discovery found.

import type { ServedKind } from './api-discovery.ts';

/** `namespace` is `''` for a cluster-scoped object. */
export function objectPath(
  { path, resource }: Pick<ServedKind, 'path' | 'resource'>,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): string {
  const base = path.slice(0, -resource.length);
  const within = namespace === '' ? '' : `namespaces/${encodeURIComponent(namespace)}/`;
  return `${base}${within}${resource}/${encodeURIComponent(name)}`;
}
