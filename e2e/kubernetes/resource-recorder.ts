// Keeps what a source said last and lets a test wait for what it expects, without looking on a timer.

import type { Resources } from '../../controller/resources/resources.ts';
import type { Problem } from '../../controller/source/problem.ts';
import type { ResourcesHandler } from '../../controller/source/resource-source.ts';

export class ResourceRecorder implements ResourcesHandler {
  #resources: Resources | undefined;
  #problems: readonly Problem[] = [];
  readonly #waiting = new Set<() => void>();
  updates = 0;

  get resources(): Resources {
    if (this.#resources === undefined) throw new Error('The source said nothing yet');
    return this.#resources;
  }

  get problems(): readonly Problem[] {
    return this.#problems;
  }

  onResources(resources: Resources, problems: readonly Problem[]): void {
    this.updates += 1;
    this.#resources = resources;
    this.#problems = problems;
    for (const check of this.#waiting) check();
  }

  /** Resolves as soon as `expected` holds, now or after a later update; rejects after `timeoutMs`. */
  until(
    what: string,
    expected: (resources: Resources, problems: readonly Problem[]) => boolean,
    timeoutMs = 20_000,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (run: () => void): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        run();
      };
      const check = (): void => {
        if (this.#resources !== undefined && expected(this.#resources, this.#problems)) finish(resolve);
      };
      const timer = setTimeout(() => finish(() => reject(new Error(`Never came: ${what}`))), timeoutMs);
      this.#waiting.add(check);
      check();
    });
  }
}
