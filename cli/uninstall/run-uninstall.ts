// Removes the mesh from a cluster in an order in which nothing is left broken by an interruption: nodes first, as long as
// there is somebody to clean them; then who makes objects; then the objects; at last what users made with our kinds, if
// they say so. Each step looks at what is there, so running it again goes on.

import { type Clock, systemClock } from '../../mesh/runtime/clock.ts';
import type { PodFact } from '../check/cluster-facts.ts';
import { counted } from '../check/finding.ts';
import { readNodesPage } from '../check/gather-facts.ts';
import { type ClusterAccess, type ClusterOptions, cliErrorOf, openCluster } from '../cluster-access.ts';
import { CliError } from '../cli-error.ts';
import type { CliOutput } from '../run-cli.ts';
import { type CleanOutcome, cleanNodes, isHopeless } from './clean-nodes.ts';
import { findInstallation, type Installation, namespaceMeta, othersIn } from './find-installation.ts';
import { type Client, type FoundObject, nameOf } from './kube-objects.ts';
import { letPodsGo, takeBack } from './let-pods-go.ts';
import { findGated, findLabelled, removeConditions, removeLabels, removeObjects } from './remove-objects.ts';
import { describePlan, leftOnNodes } from './uninstall-text.ts';

export interface UninstallOptions extends ClusterOptions {
  readonly namespace: string;
  readonly crds?: true;
  readonly labels?: true;
  readonly yes?: true;
  readonly dryRun?: true;
}

interface Run {
  readonly client: Client;
  readonly readPage: ClusterAccess['readPage'];
  readonly clock: Clock;
  readonly options: UninstallOptions;
  readonly output: CliOutput;
}

/** What a node needs to be cleaned when it is back. */
const cleanerNeeds = new Set([
  'DaemonSet weft-ztunnel',
  'ServiceAccount weft-ztunnel',
  'ConfigMap weft-roots',
]);

/** Resolves with the exit status: 1 if something is left that should be gone. Rejects with CliError. */
export async function uninstall(
  options: UninstallOptions,
  output: CliOutput,
  clock = systemClock,
): Promise<number> {
  using cluster = openCluster(options, clock);
  try {
    return await remove({ client: cluster.client, readPage: cluster.readPage, clock, options, output });
  } catch (error) {
    throw cliErrorOf(error);
  }
}

async function remove(run: Run): Promise<number> {
  const { client, options, output } = run;
  const installation = await findInstallation(client, options.namespace);
  const labelled = await findLabelled(client);
  output.out(
    describePlan(installation, {
      ...options,
      labelled: labelled.map(({ name }) => name),
      gated: await findGated(client),
    }),
  );
  if (options.dryRun === true) return 0;
  if (!(await isConfirmed(options, output))) return 1;
  const nodes = await clean(run, installation);
  const left = nodes?.failed ?? [];
  await removeMesh(run, installation, left.length > 0);
  await takeBack({ client, namespace: options.namespace });
  await removeMarks(run, labelled);
  if (options.crds === true) {
    await removeObjects(installation.definitions, run);
    output.out(`removed ${counted(installation.definitions.length, 'definition')} with their objects\n`);
  }
  const isNamespaceDone = left.length > 0 || (await removeNamespace(run, installation));
  output.out(leftOnNodes(left, options.namespace));
  if (left.length === 0) output.out('Done\n');
  return left.length === 0 && isNamespaceDone ? 0 : 1;
}

async function isConfirmed({ yes }: UninstallOptions, output: CliOutput): Promise<boolean> {
  if (yes === true) return true;
  const { terminal } = output;
  if (terminal === undefined)
    throw new CliError('usage', 'Nobody can be asked here; confirm with --yes, or look with --dry-run');
  const answer = await terminal.ask('Remove all this? Type "yes": ');
  if (answer.trim() === 'yes') return true;
  output.out('Nothing was removed\n');
  return false;
}

async function clean(run: Run, { hasTunnels }: Installation): Promise<CleanOutcome | undefined> {
  if (!hasTunnels) return undefined;
  const { client, clock, options, output } = run;
  const { namespace } = options;
  output.out('letting pods go: open connections go on, new ones are plain TCP\n');
  const readPage = () => readLeaderPage(run);
  const doubt = await letPodsGo({ client, clock, namespace, readPage });
  if (doubt !== undefined)
    output.out(`  not certain (${doubt}); requests may fail while nodes are cleaned\n`);
  output.out('cleaning nodes\n');
  const outcome = await cleanNodes({
    client,
    clock,
    namespace,
    onProgress: (done, all) => output.out(`  ${done} of ${counted(all, 'node')} clean\n`),
  });
  if (outcome !== undefined && isHopeless(outcome)) {
    await takeBack({ client, namespace });
    const reasons = outcome.failed.map(({ node, reason }) => `${node}: ${reason}`).join('; ');
    throw new CliError('failed', `No node could be cleaned, so nothing else was removed: ${reasons}`);
  }
  return outcome;
}

async function readLeaderPage({ client, readPage, options }: Run): ReturnType<typeof readNodesPage> {
  const { namespace } = options;
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const { items } = await client.request<{ items: readonly PodFact[] }>({ path });
  return await readNodesPage({ namespace, readPage }, items);
}

/** The controller goes before what it would make again. */
async function removeMesh(run: Run, { own, waypoints }: Installation, keepsCleaner: boolean): Promise<void> {
  const objects = own.filter((object) => !keepsCleaner || !cleanerNeeds.has(shortName(object)));
  const [programs, others] = [objects.filter(isProgram), objects.filter((object) => !isProgram(object))];
  await removeObjects(programs, run);
  await removeObjects([...waypoints, ...others], run);
  const count = objects.length + waypoints.length;
  run.output.out(`removed ${counted(count, 'object')} of the mesh\n`);
}

function isProgram({ kind }: FoundObject): boolean {
  return kind.kind === 'Deployment' || kind.kind === 'DaemonSet';
}

function shortName({ kind, metadata }: FoundObject): string {
  return `${kind.kind} ${metadata.name}`;
}

async function removeMarks(run: Run, labelled: Awaited<ReturnType<typeof findLabelled>>): Promise<void> {
  const count = await removeConditions(run);
  if (count > 0) run.output.out(`took the condition weft.dev/Captured from ${counted(count, 'pod')}\n`);
  if (run.options.labels !== true || labelled.length === 0) return;
  await removeLabels(labelled, run);
  run.output.out(`took the labels of the mesh from ${counted(labelled.length, 'object')}\n`);
}

/** False if it stays although it is ours. */
async function removeNamespace(run: Run, { namespace, kinds, silent }: Installation): Promise<boolean> {
  const { client, output, options } = run;
  const metadata = await namespaceMeta(client, namespace);
  if (metadata === undefined) return true;
  if (metadata.labels?.['app.kubernetes.io/part-of'] !== 'weft') {
    output.out(`namespace ${namespace} stays: it was not made by weft install\n`);
    return true;
  }
  const gone = options.crds === true ? kinds.filter(({ group }) => group !== 'weft.dev') : kinds;
  const others = await othersIn(client, { namespace, kinds: gone });
  if (others.length > 0 || silent.length > 0) {
    const what = [
      ...others.map(nameOf),
      ...silent.map((group) => `whatever ${group} has, which does not answer`),
    ];
    output.out(`namespace ${namespace} stays, as there is more in it: ${what.join(', ')}\n`);
    return false;
  }
  const kind = kinds.find(({ kind: name, group }) => name === 'Namespace' && group === '');
  if (kind !== undefined) await removeObjects([{ kind, metadata: { name: namespace } }], run);
  output.out(`removed namespace ${namespace}\n`);
  return true;
}
