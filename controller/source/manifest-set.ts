// The manifests of a directory over time: each file's objects in their last good version, and what is wrong now.
// One update() at a time; unchanged files are not read again. No watching and no timers here.

import {
  type ObjectReference,
  formatReference,
  objectKey,
  type Resources,
  buildResources,
  type TypedObject,
} from '../resources/resources.ts';
import { type ParsedManifest, type ParsedObject, parseManifest, referenceKey } from './parse-manifest.ts';
import type { LastGoodFiles } from './last-good-files.ts';
import { compareProblems, type FieldPath, type Problem } from './problem.ts';
import { maxManifestBytes, readManifestFile } from './read-manifest-file.ts';
import { type DirectoryScan, type FoundFile, scanDirectory } from './scan-directory.ts';
import type { Position } from './yaml-documents.ts';

/** All manifests together may not be larger than this: parsed objects are a few times the size of their text. */
const maxTotalBytes = 256 * 1024 * 1024;

interface HeldObject {
  readonly reference: ObjectReference;
  readonly typed: TypedObject;
  readonly position: Position;
  readonly locate?: (path: FieldPath) => Position;
}

interface HeldFile {
  readonly stamp: string;
  readonly objects: readonly HeldObject[];
  readonly problems: readonly Problem[];
}

export interface Loaded {
  readonly resources: Resources;
  /** Sorted by file and position. */
  readonly problems: readonly Problem[];
  /** False if nothing changed since the last update. */
  readonly changed: boolean;
}

export interface ManifestSetOptions {
  readonly directory: string;
  /** Keeps the parsed documents so that locate() knows single fields; costs several times the text. */
  readonly keepPositions?: boolean;
  /** Where last good versions outlive the process. */
  readonly lastGood?: LastGoodFiles;
}

export class ManifestSet {
  readonly #directory: string;
  readonly #keepPositions: boolean;
  readonly #lastGood: LastGoodFiles | undefined;
  #files = new Map<string, HeldFile>();
  #scanProblems: readonly Problem[] = [];
  #directories: DirectoryScan['directories'] = [];

  constructor(options: ManifestSetOptions) {
    this.#directory = options.directory;
    this.#keepPositions = options.keepPositions ?? false;
    this.#lastGood = options.lastGood;
  }

  /** The directories found by the last update, for watching. */
  get directories(): DirectoryScan['directories'] {
    return this.#directories;
  }

  /** Whether the next update would find something else than the last; rejects like update(). */
  async isStale(): Promise<boolean> {
    const scan = await scanDirectory(this.#directory);
    if (!sameProblems(this.#scanProblems, scan.problems)) return true;
    const hidden = [...this.#files.keys()].filter((path) => isBelow(path, scan.unreadable));
    if (scan.files.length + hidden.length !== this.#files.size) return true;
    return scan.files.some((found) => this.#files.get(found.path)?.stamp !== found.stamp);
  }

  /** Reads what changed. Rejects if the directory itself cannot be read; everything known then stays as it is. */
  async update(): Promise<Loaded> {
    const scan = await scanDirectory(this.#directory);
    const files = new Map<string, HeldFile>();
    let totalBytes = 0;
    for (const found of scan.files) {
      totalBytes += Math.min(found.sizeBytes, maxManifestBytes);
      const previous = this.#files.get(found.path);
      const held = await this.#hold(found, previous, totalBytes);
      if (held !== undefined) files.set(found.path, held);
    }
    for (const [path, held] of this.#files) {
      if (isBelow(path, scan.unreadable)) files.set(path, held);
    }
    const removed = [...this.#files.keys()].some((path) => !files.has(path));
    // What cannot be read at the moment is not gone.
    if ((removed || this.#files.size === 0) && scan.unreadable.length === 0) {
      await this.#lastGood?.retain(files.keys());
    }
    const changed = !sameFiles(this.#files, files) || !sameProblems(this.#scanProblems, scan.problems);
    this.#files = new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));
    this.#directories = scan.directories;
    this.#scanProblems = scan.problems;
    return { ...this.#merge(), changed };
  }

  /** Where an object of the last update, or one of its fields, is written. */
  locate(reference: ObjectReference, path: FieldPath): (Position & { readonly file: string }) | undefined {
    const key = referenceKey(reference);
    for (const [file, held] of this.#files) {
      const object = held.objects.find((candidate) => referenceKey(candidate.reference) === key);
      if (object !== undefined) return { file, ...(object.locate?.(path) ?? object.position) };
    }
    return undefined;
  }

  async #hold(
    found: FoundFile,
    previous: HeldFile | undefined,
    totalBytes: number,
  ): Promise<HeldFile | undefined> {
    if (previous?.stamp === found.stamp) return previous;
    if (totalBytes > maxTotalBytes) {
      const limit = `${maxTotalBytes / 1024 / 1024} MiB`;
      return await this.#broken(
        found,
        previous,
        `Not read: all manifests together are over the limit of ${limit}`,
      );
    }
    const read = await readManifestFile(found.path);
    if ('gone' in read) return undefined;
    if ('problem' in read) return await this.#broken(found, previous, read.problem);
    return await this.#parse(found, previous, read.text);
  }

  async #parse(found: FoundFile, previous: HeldFile | undefined, text: string): Promise<HeldFile> {
    const parsed = parseManifest(text, found.path);
    const objects = parsed.objects.map((object) => this.#trim(object));
    if (!parsed.unidentified && parsed.broken.length === 0) {
      await this.#lastGood?.write(found.path, text);
      return { stamp: found.stamp, objects, problems: parsed.problems };
    }
    const kept = lastGood(previous?.objects ?? (await this.#restore(found.path)), parsed);
    return {
      stamp: found.stamp,
      objects: [...objects, ...kept],
      problems: [...parsed.problems, ...keptNotice(found.path, kept)],
    };
  }

  async #broken(found: FoundFile, previous: HeldFile | undefined, message: string): Promise<HeldFile> {
    const objects = previous?.objects ?? (await this.#restore(found.path));
    const problem: Problem = { file: found.path, line: 0, column: 0, message, severity: 'error' };
    return { stamp: found.stamp, objects, problems: [problem, ...keptNotice(found.path, objects)] };
  }

  /** The objects of the version kept by an earlier process. */
  async #restore(path: string): Promise<readonly HeldObject[]> {
    const text = await this.#lastGood?.read(path);
    if (text === undefined) return [];
    return parseManifest(text, path).objects.map((object) => this.#trim(object));
  }

  #trim(object: ParsedObject): HeldObject {
    const { reference, typed, position } = object;
    return this.#keepPositions
      ? { reference, typed, position, locate: (path) => object.locate(path) }
      : { reference, typed, position };
  }

  #merge(): { resources: Resources; problems: readonly Problem[] } {
    const winners = new Map<string, { file: string; held: HeldObject }>();
    const problems: Problem[] = [...this.#scanProblems];
    for (const [file, held] of this.#files) {
      problems.push(...held.problems);
      for (const object of held.objects) {
        const key = referenceKey(object.reference);
        const first = winners.get(key);
        if (first === undefined) winners.set(key, { file, held: object });
        else problems.push(duplicate(file, object, first));
      }
    }
    const resources = buildResources([...winners.values()].map(({ held }) => held.typed));
    return { resources, problems: problems.sort(compareProblems) };
  }
}

function isBelow(path: string, parents: readonly string[]): boolean {
  return parents.some((parent) => path === parent || path.startsWith(`${parent}/`));
}

/** What stays of the last version: broken objects, or everything not found again if it is unknown what broke. */
function lastGood(previous: readonly HeldObject[], parsed: ParsedManifest): readonly HeldObject[] {
  const present = new Set(parsed.objects.map((object) => referenceKey(object.reference)));
  const broken = new Set(parsed.broken.map(referenceKey));
  return previous.filter((object) => {
    const key = referenceKey(object.reference);
    return !present.has(key) && (parsed.unidentified || broken.has(key));
  });
}

function keptNotice(file: string, kept: readonly HeldObject[]): Problem[] {
  return kept.map((object) => ({
    file,
    line: 0,
    column: 0,
    object: object.reference,
    message: 'Its last good version stays in force until the file is right again',
    severity: 'warning',
  }));
}

function duplicate(file: string, object: HeldObject, first: { file: string; held: HeldObject }): Problem {
  const { kind, namespace, name } = object.reference;
  const place = `${first.file}:${first.held.position.line}`;
  return {
    file,
    ...object.position,
    object: object.reference,
    field: 'metadata.name',
    message: `Duplicate: ${formatReference({ kind, namespace, name })} is already defined at ${place}, which counts; remove or rename "${objectKey(namespace, name)}" here`,
    severity: 'error',
  };
}

function sameFiles(a: ReadonlyMap<string, HeldFile>, b: ReadonlyMap<string, HeldFile>): boolean {
  if (a.size !== b.size) return false;
  for (const [path, held] of a) {
    if (b.get(path) !== held) return false;
  }
  return true;
}

function sameProblems(a: readonly Problem[], b: readonly Problem[]): boolean {
  return a.length === b.length && a.every((problem, i) => compareProblems(problem, b[i] as Problem) === 0);
}
