// What a machine lacks to run the node tunnel: one clear line each, checked before anything is touched.

import { probeFeatures } from '../bpf/probe.ts';

export function missingFeatures(): string[] {
  if (process.platform !== 'linux') return [`Linux is needed, this is ${process.platform}`];
  return probeFeatures().map(({ feature, needed, message }) => `${feature}: ${message} (needs ${needed})`);
}
