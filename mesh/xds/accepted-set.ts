// What a client accepted of one resource type: under which names, at which version, and which key of the model each
// name stands for. Most resources come under their own key; only other names (an address that was asked for) need
// an entry that says so. A key goes with its last name. Bounded by what the server sends.

export interface ModelKey<Kind extends string> {
  readonly kind: Kind;
  readonly key: string;
}

interface Alias<Kind extends string> extends ModelKey<Kind> {
  readonly version: string;
}

export class AcceptedSet<Kind extends string> {
  /** Versions by name, for names that are the key itself. */
  readonly #own: ReadonlyMap<Kind, Map<string, string>>;
  readonly #aliases = new Map<string, Alias<Kind>>();
  readonly #aliasesOf = new Map<string, Set<string>>();

  /** Kinds in the order in which a removed name is tried as a key. */
  constructor(kinds: readonly Kind[]) {
    this.#own = new Map(kinds.map((kind) => [kind, new Map()]));
  }

  has(name: string): boolean {
    return this.#keyOf(name) !== undefined;
  }

  hasKey({ kind, key }: ModelKey<Kind>): boolean {
    return this.#own.get(kind)?.has(key) === true || this.#aliasesOf.has(keyText({ kind, key }));
  }

  /** Returns the key that this name stood for before, if that has no name left. */
  accept(name: string, version: string, to: ModelKey<Kind>): ModelKey<Kind> | undefined {
    const previous = this.#keyOf(name);
    const moved = previous !== undefined && keyText(previous) !== keyText(to);
    if (moved) this.#forget(name, previous);
    this.#put(name, version, to);
    return moved && !this.hasKey(previous) ? previous : undefined;
  }

  /** The last good content stays; its version no longer counts, so that a reconnect asks for it again. */
  refuse(name: string): void {
    const key = this.#keyOf(name);
    if (key !== undefined) this.#put(name, '', key);
  }

  /** The name as a key, with all its other names, or as one of them. Returns the key that is gone by that. */
  remove(name: string): ModelKey<Kind> | undefined {
    for (const kind of this.#own.keys()) {
      const key = { kind, key: name };
      if (!this.hasKey(key)) continue;
      for (const alias of this.#aliasesOf.get(keyText(key)) ?? []) this.#aliases.delete(alias);
      this.#aliasesOf.delete(keyText(key));
      this.#own.get(kind)?.delete(name);
      return key;
    }
    const key = this.#aliases.get(name);
    if (key === undefined) return undefined;
    this.#forget(name, key);
    return this.hasKey(key) ? undefined : { kind: key.kind, key: key.key };
  }

  /** For initial_resource_versions. */
  *versions(): Iterable<readonly [name: string, version: string]> {
    for (const names of this.#own.values()) yield* names;
    for (const [name, { version }] of this.#aliases) yield [name, version];
  }

  #keyOf(name: string): ModelKey<Kind> | undefined {
    const alias = this.#aliases.get(name);
    if (alias !== undefined) return alias;
    for (const [kind, names] of this.#own) if (names.has(name)) return { kind, key: name };
    return undefined;
  }

  #put(name: string, version: string, { kind, key }: ModelKey<Kind>): void {
    if (name === key) {
      this.#own.get(kind)?.set(name, version);
      return;
    }
    this.#aliases.set(name, { kind, key, version });
    const text = keyText({ kind, key });
    const names = this.#aliasesOf.get(text);
    if (names === undefined) this.#aliasesOf.set(text, new Set([name]));
    else names.add(name);
  }

  #forget(name: string, { kind, key }: ModelKey<Kind>): void {
    if (name === key) {
      this.#own.get(kind)?.delete(name);
      return;
    }
    this.#aliases.delete(name);
    const text = keyText({ kind, key });
    const names = this.#aliasesOf.get(text);
    names?.delete(name);
    if (names?.size === 0) this.#aliasesOf.delete(text);
  }
}

/** A uid and a service key can be the same text. */
export function keyText({ kind, key }: ModelKey<string>): string {
  return `${kind} ${key}`;
}
