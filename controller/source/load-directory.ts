// A directory of manifests, read once: for `weft validate` and for tests.

import type { ObjectReference, Resources } from '../resources/resources.ts';
import { SourceError } from './directory-error.ts';
import { ManifestSet } from './manifest-set.ts';
import type { FieldPath, Problem } from './problem.ts';

export interface LoadedDirectory {
  readonly resources: Resources;
  readonly problems: readonly Problem[];
  /** File and position of an object or of one of its fields. */
  locate(
    reference: ObjectReference,
    path: FieldPath,
  ): { readonly file: string; readonly line: number; readonly column: number } | undefined;
}

/** Reads `directory`; throws SourceError if the directory itself cannot be read. Everything else is a problem. */
export async function loadDirectory(directory: string): Promise<LoadedDirectory> {
  const set = new ManifestSet({ directory, keepPositions: true });
  try {
    const { resources, problems } = await set.update();
    return { resources, problems, locate: (reference, path) => set.locate(reference, path) };
  } catch (error) {
    throw SourceError.unreadable(directory, error);
  }
}
