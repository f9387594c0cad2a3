// What a step of the demo is, and how steps are run: in order, each to a verdict, none left out of the report.

import type { DemoWorld } from './world.ts';

export interface Step {
  /** What the step proves, in a few words. */
  readonly name: string;
  /** The steps after it have no meaning when it fails. */
  readonly essential?: boolean;
  /** Proves it and returns what was seen, in one line; throws when it does not hold. */
  run(world: DemoWorld): Promise<string>;
}

export interface StepResult {
  readonly step: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly seconds: number;
}

/** Runs the steps in order and hands out each result as it comes. */
export async function runSteps(
  world: DemoWorld,
  steps: readonly Step[],
  onResult: (result: StepResult) => void,
): Promise<readonly StepResult[]> {
  const results: StepResult[] = [];
  let stoppedBy: string | undefined;
  for (const step of steps) {
    const result =
      stoppedBy === undefined
        ? await runStep(world, step)
        : { step: step.name, ok: false, detail: `not run, because "${stoppedBy}" failed`, seconds: 0 };
    if (!result.ok && step.essential) stoppedBy ??= step.name;
    results.push(result);
    onResult(result);
  }
  return results;
}

async function runStep(world: DemoWorld, step: Step): Promise<StepResult> {
  const started = performance.now();
  const seconds = (): number => Math.round((performance.now() - started) / 10) / 100;
  try {
    const detail = await step.run(world);
    return { step: step.name, ok: true, detail, seconds: seconds() };
  } catch (error) {
    return { step: step.name, ok: false, detail: (error as Error).message, seconds: seconds() };
  }
}
