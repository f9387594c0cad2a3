// Counts the calls out of JavaScript that a test causes, by name: wraps every function of mesh/io/libc.ts and
// mesh/io/openssl.ts while vitest loads them (`vi.mock`). Production code knows nothing of it and pays nothing.

/** Calls since the last `reset`. */
export class CallCounts {
  readonly #calls = new Map<string, number>();
  /** Of calls that take or give bytes: sums of what they returned. */
  readonly #bytes = new Map<string, number>();

  /** The module with every function counted. */
  wrap<T extends object>(module: T): T {
    const wrapped = { ...module } as Record<string, unknown>;
    for (const [name, value] of Object.entries(module))
      if (typeof value === 'function')
        wrapped[name] = this.#counted(name, value as (...args: never[]) => unknown);
    return wrapped as T;
  }

  of(...names: readonly string[]): number {
    return names.reduce((total, name) => total + (this.#calls.get(name) ?? 0), 0);
  }

  /** All calls, without those named. */
  all(options: { readonly except?: readonly string[] } = {}): number {
    return this.of(...[...this.#calls.keys()].filter((name) => options.except?.includes(name) !== true));
  }

  bytesOf(name: string): number {
    return this.#bytes.get(name) ?? 0;
  }

  reset(): void {
    this.#calls.clear();
    this.#bytes.clear();
  }

  /** For a failure's message, the most frequent first. */
  toString(): string {
    const calls = [...this.#calls].toSorted(([, a], [, b]) => b - a);
    return calls.map(([name, count]) => `${name} ${count}`).join(', ');
  }

  #counted(name: string, call: (...args: never[]) => unknown): (...args: never[]) => unknown {
    return (...args) => {
      this.#calls.set(name, (this.#calls.get(name) ?? 0) + 1);
      const result = call(...args);
      if (typeof result === 'number' && result > 0)
        this.#bytes.set(name, (this.#bytes.get(name) ?? 0) + result);
      return result;
    };
  }
}
