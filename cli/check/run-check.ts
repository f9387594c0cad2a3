// Looks at the cluster once, or until all is well or the time is over, and prints what was found.

import { waitFor } from '../../controller/kubernetes/wait.ts';
import { type Clock, systemClock } from '../../mesh/runtime/clock.ts';
import { type ClusterOptions, cliErrorOf, openCluster } from '../cluster-access.ts';
import { CliError } from '../cli-error.ts';
import type { CliOutput } from '../run-cli.ts';
import { runChecks } from './all-checks.ts';
import { type CheckResult, counted, isGreen } from './finding.ts';
import { gatherFacts, type GatherOptions, readWantedDefinitions } from './gather-facts.ts';
import { showJson, showText } from './show-check.ts';

export interface CheckOptions extends ClusterOptions {
  /** Of the mesh. */
  readonly namespace: string;
  /** Seconds; absent: look once. */
  readonly wait?: number;
  readonly output: 'text' | 'json';
}

/** Between two looks: a start is a matter of seconds, and a look costs the API server a few lists. */
const pauseMs = 1_000;

/** Resolves with the exit status. Rejects with CliError. */
export async function check(options: CheckOptions, output: CliOutput, clock = systemClock): Promise<number> {
  using cluster = openCluster(options, clock);
  const { client, readPage } = cluster;
  const { signal } = new AbortController();
  const gather: GatherOptions = {
    client,
    namespace: options.namespace,
    now: () => clock.now(),
    readPage,
    wantedDefinitions: readWantedDefinitions(),
    signal,
  };
  const results = await lookUntilGreen(gather, { waitMs: (options.wait ?? 0) * 1000, clock, output });
  if (options.output === 'json') output.out(showJson(results));
  else output.out(showText(results, { isTerminal: output.terminal !== undefined }));
  return isGreen(results) ? 0 : 1;
}

interface WaitOptions {
  /** 0: once. */
  readonly waitMs: number;
  readonly clock: Clock;
  readonly output: CliOutput;
}

async function lookUntilGreen(
  gather: GatherOptions,
  { waitMs, clock, output }: WaitOptions,
): Promise<readonly CheckResult[]> {
  const deadline = clock.monotonic() + waitMs;
  for (;;) {
    const isLast = clock.monotonic() + pauseMs > deadline;
    const results = await look(gather, isLast);
    if (isLast || (results !== undefined && isGreen(results))) {
      if (output.terminal !== undefined && waitMs > 0) output.err('\r\u001b[K');
      if (results !== undefined) return results;
    }
    if (output.terminal !== undefined) output.err(`\r\u001b[K${progress(results)}`);
    await waitFor(clock, pauseMs, gather.signal);
  }
}

/** Undefined: the cluster did not answer, and there is time left. */
async function look(gather: GatherOptions, isLast: boolean): Promise<readonly CheckResult[] | undefined> {
  try {
    return runChecks(await gatherFacts(gather));
  } catch (error) {
    const cliError = cliErrorOf(error);
    if (isLast || !(cliError instanceof CliError) || cliError.code !== 'unreachable') throw cliError;
    return undefined;
  }
}

function progress(results: readonly CheckResult[] | undefined): string {
  if (results === undefined) return 'waiting for the cluster to answer';
  const findings = results.flatMap(({ findings: list }) => list).filter(({ level }) => level === 'error');
  const [first] = findings;
  const one = first === undefined ? '' : `: ${first.where} ${first.what}`;
  return `waiting, ${counted(findings.length, 'finding')}${one}`.slice(0, 100);
}
