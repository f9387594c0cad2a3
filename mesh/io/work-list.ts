// A list that is filled and emptied in every turn of the loop. Keeps its slots, so that a turn makes no garbage: setting
// an array's length to 0 gives its memory up, and costs more than the turn around it.

export class WorkList<T extends object> {
  readonly #items: (T | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(item: T): void {
    this.#items[this.#size++] = item;
  }

  /** Undefined from `size` on. */
  at(index: number): T | undefined {
    return index < this.#size ? this.#items[index] : undefined;
  }

  clear(): void {
    for (let i = 0; i < this.#size; i++) this.#items[i] = undefined;
    this.#size = 0;
  }
}
