// The one MeshConfig object to the model's settings. Objects of another name are told that they do not count.

import { defaultMeshConfig, type MeshConfig } from '../../mesh/model/mesh-config.ts';
import type { Resources } from '../resources/resources.ts';
import type { StatusCollector } from './statuses.ts';

const accessLogs = { ALL: 'all', FAILURES: 'failures', OFF: 'off' } as const;

/** `trustDomain` is the controller's own setting, which an object may replace. */
export function translateMeshConfig(
  resources: Resources,
  statuses: StatusCollector,
  { trustDomain }: { readonly trustDomain: string },
): MeshConfig {
  for (const { metadata } of resources.MeshConfig.values()) {
    statuses.announce('MeshConfig', metadata);
    if (metadata.name === 'default') continue;
    const message = 'The mesh has one MeshConfig and its name is "default"; this one is ignored';
    statuses.reject('MeshConfig', metadata, { reason: 'WrongName', message, field: ['metadata', 'name'] });
  }
  const spec = resources.MeshConfig.get('default')?.spec;
  if (spec === undefined) return { ...defaultMeshConfig, trustDomain };
  return {
    trustDomain: spec.trustDomain ?? trustDomain,
    mtls: spec.mtls.mode === 'STRICT' ? 'strict' : 'permissive',
    unknownDestinations: spec.unknownDestinations === 'DENY' ? 'deny' : 'allow',
    accessLog: accessLogs[spec.accessLog],
    sameNode: spec.sameNode === 'KERNEL' ? 'kernel' : 'proxy',
    ...(spec.tracing && { tracing: spec.tracing }),
  };
}
