// What a user lays over the objects of a waypoint: a ConfigMap with a piece of YAML for each kind, merged into what the
// controller makes. Objects are merged, lists of things with names (containers, ports, volumes) by name, everything else
// is replaced, null removes (RFC 7386 with names).

import { parse } from 'yaml';
import type { Manifest } from './waypoint-objects.ts';

export const overlayKeys = [
  'deployment',
  'service',
  'serviceAccount',
  'podDisruptionBudget',
  'horizontalPodAutoscaler',
] as const;

export type OverlayKey = (typeof overlayKeys)[number];
export type Overlay = { readonly [K in OverlayKey]?: Readonly<Record<string, unknown>> };

export interface ReadOverlay {
  readonly overlay: Overlay;
  readonly problems: readonly string[];
}

/** Of a ConfigMap's data. What cannot be read is left out, and the problems say so. */
export function readOverlay(data: Readonly<Record<string, string>>, source: string): ReadOverlay {
  const overlay: { [K in OverlayKey]?: Readonly<Record<string, unknown>> } = {};
  const problems: string[] = [];
  for (const [key, text] of Object.entries(data)) {
    const known = overlayKeys.find((candidate) => candidate === key);
    if (known === undefined) {
      problems.push(`${source}: key "${key}" is none of ${overlayKeys.join(', ')}`);
      continue;
    }
    try {
      // Aliases can make a small text a large object.
      const value: unknown = parse(text, { maxAliasCount: 0 });
      if (isObject(value)) overlay[known] = value;
      else problems.push(`${source}: key "${key}" is no object in YAML`);
    } catch (error) {
      problems.push(`${source}: key "${key}" is no YAML: ${firstLine(error)}`);
    }
  }
  return { overlay, problems };
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
}

export function overlaid(
  manifest: Manifest,
  overlay: Readonly<Record<string, unknown>> | undefined,
): Manifest {
  if (overlay === undefined) return manifest;
  const { apiVersion, kind } = manifest;
  const merged = merge(manifest, overlay) as Manifest;
  return {
    ...merged,
    apiVersion,
    kind,
    metadata: isObject(merged.metadata) ? merged.metadata : manifest.metadata,
  };
}

function merge(base: unknown, over: unknown): unknown {
  if (isNamedList(base) && isNamedList(over)) return mergeNamed(base, over);
  if (!isObject(base) || !isObject(over)) return withoutNulls(over);
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    if (key === '__proto__') continue;
    if (value === null) delete merged[key];
    else merged[key] = merge(Object.hasOwn(base, key) ? base[key] : undefined, value);
  }
  return merged;
}

type Named = Readonly<Record<string, unknown>> & { readonly name: string };

/** Entries of the base in their order, then new ones. */
function mergeNamed(base: readonly Named[], over: readonly Named[]): readonly unknown[] {
  const names = new Set(base.map(({ name }) => name));
  const merged = base.map((entry) => {
    const own = over.find(({ name }) => name === entry.name);
    return own === undefined ? entry : merge(entry, own);
  });
  return [...merged, ...over.filter(({ name }) => !names.has(name)).map(withoutNulls)];
}

function withoutNulls(value: unknown): unknown {
  return isObject(value) ? merge({}, value) : value;
}

function isNamedList(value: unknown): value is readonly Named[] {
  return Array.isArray(value) && value.every((entry) => isObject(entry) && typeof entry['name'] === 'string');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
