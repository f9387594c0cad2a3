// Puts custom resource definitions into an API server and waits until their kinds are served.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ApiServer } from './api-server.ts';

export const ownDefinitions = fileURLToPath(new URL('../../manifests/crds/', import.meta.url));

/** The project's own definitions. */
export async function applyOwnDefinitions(server: ApiServer): Promise<void> {
  await applyDefinitions(server, ownDefinitions);
}

/** Every definition in a folder of manifests; other objects there (guards, kustomizations) are left out. */
export async function applyDefinitions(server: ApiServer, directory: string): Promise<void> {
  const definitions = readDefinitions(directory);
  await server.kubectlOk(
    ['apply', '--server-side', '--force-conflicts', '-f', '-'],
    definitions.join('\n---\n'),
  );
  await server.kubectlOk(['wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all']);
}

/** Texts of the definitions in a folder of manifests. */
export function readDefinitions(directory: string): readonly string[] {
  const files = readdirSync(directory).filter((name) => name.endsWith('.yaml'));
  const texts = files.map((name) => readFileSync(join(directory, name), 'utf8'));
  return texts.filter((text) => /^kind: CustomResourceDefinition$/m.test(text));
}
