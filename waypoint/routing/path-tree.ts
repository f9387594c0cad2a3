// A tree of path elements: which prefixes a path begins with is found in one walk down, whatever the number of routes.
// Knows nothing of rules; each node carries what its owner put there.

export interface PathNode<V> {
  readonly children: Map<string, PathNode<V>>;
  value: V | undefined;
}

export class PathTree<V> {
  readonly #root: PathNode<V> = { children: new Map(), value: undefined };
  /** Values met by the last walk, the shortest prefix first; kept to spare a list a request. */
  readonly #met: V[] = [];

  /** The node of a prefix without a slash at its end; `/` is the root, which every path passes. */
  plant(prefix: string): PathNode<V> {
    let node = this.#root;
    for (const element of prefix === '/' ? [] : prefix.slice(1).split('/')) {
      let child = node.children.get(element);
      if (child === undefined) {
        child = { children: new Map(), value: undefined };
        node.children.set(element, child);
      }
      node = child;
    }
    return node;
  }

  /** How many values stand on the way of a normalised path; `met` gives them until the next walk. */
  walk(path: string): number {
    let node: PathNode<V> | undefined = this.#root;
    let count = 0;
    for (let start = 1; node !== undefined; ) {
      if (node.value !== undefined) this.#met[count++] = node.value;
      if (node.children.size === 0 || start >= path.length) break;
      const slash = path.indexOf('/', start);
      const end = slash < 0 ? path.length : slash;
      node = node.children.get(path.slice(start, end));
      start = end + 1;
    }
    return count;
  }

  /** `at` is below what `walk` returned. */
  met(at: number): V {
    return this.#met[at] as V;
  }
}
