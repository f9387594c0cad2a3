// Comparing model values: structural equality, and the delta that leads from one model to the next.
// Model values are plain data (objects, arrays, maps, strings, numbers, booleans) without cycles.

import type { Model, ModelDelta } from './model.ts';

/**
 * Deep structural equality. Order counts in arrays, not in maps or among properties; a property that is undefined
 * equals an absent one.
 */
export function modelEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => modelEqual(item, b[i]));
  }
  if (a instanceof Map) return b instanceof Map && mapsEqual(a, b);
  if (Array.isArray(b) || b instanceof Map) return false;
  return recordsEqual(a as Record<string, unknown>, b as Record<string, unknown>);
}

function mapsEqual(a: ReadonlyMap<unknown, unknown>, b: ReadonlyMap<unknown, unknown>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) {
    if (!b.has(key) || !modelEqual(value, b.get(key))) return false;
  }
  return true;
}

function recordsEqual(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  for (const key of Object.keys(a)) {
    if (!modelEqual(a[key], Object.hasOwn(b, key) ? b[key] : undefined)) return false;
  }
  for (const key of Object.keys(b)) {
    if (b[key] !== undefined && !Object.hasOwn(a, key)) return false;
  }
  return true;
}

/** What has to be applied to `previous` to get `next`; lists are in the order of the maps they come from. */
export function diffModel(previous: Model, next: Model): ModelDelta {
  const workloads = diffMap(previous.workloads, next.workloads);
  const services = diffMap(previous.services, next.services);
  const policies = diffMap(previous.policies, next.policies);
  const pods = diffMap(previous.pods, next.pods);
  const waypoints = diffMap(previous.waypoints, next.waypoints);
  const routings = diffMap(previous.routings, next.routings);
  const requestAuthentications = diffMap(previous.requestAuthentications, next.requestAuthentications);
  return {
    workloads: workloads.stored,
    services: services.stored,
    policies: policies.stored,
    pods: pods.stored,
    waypoints: waypoints.stored,
    routings: routings.stored,
    requestAuthentications: requestAuthentications.stored,
    ...(modelEqual(previous.meshConfig, next.meshConfig) ? {} : { meshConfig: next.meshConfig }),
    ...(modelEqual(previous.enrolledNamespaces, next.enrolledNamespaces)
      ? {}
      : { enrolledNamespaces: next.enrolledNamespaces }),
    removed: {
      workloads: workloads.removed,
      services: services.removed,
      policies: policies.removed,
      pods: pods.removed,
      waypoints: waypoints.removed,
      routings: routings.removed,
      requestAuthentications: requestAuthentications.removed,
    },
  };
}

function diffMap<K, V>(previous: ReadonlyMap<K, V>, next: ReadonlyMap<K, V>): { stored: V[]; removed: K[] } {
  const stored: V[] = [];
  const removed: K[] = [];
  for (const [key, value] of next) {
    if (!previous.has(key) || !modelEqual(previous.get(key), value)) stored.push(value);
  }
  for (const key of previous.keys()) {
    if (!next.has(key)) removed.push(key);
  }
  return { stored, removed };
}
