// What of the mesh is in a cluster: what `weft install` made and what the controller made, told from what users made. Asks
// only.

import {
  type Client,
  discoverAll,
  type FoundObject,
  type Kind,
  listObjects,
  type ObjectMeta,
  orMissing,
} from './kube-objects.ts';

export interface Installation {
  readonly namespace: string;
  /** Undefined: the namespace is not there. */
  readonly namespaceMeta: ObjectMeta | undefined;
  readonly hasTunnels: boolean;
  /** In the mesh's namespace and cluster wide, without namespace, definitions, and what goes with its owner. */
  readonly own: readonly FoundObject[];
  /** What runs waypoints, in any namespace. */
  readonly waypoints: readonly FoundObject[];
  readonly definitions: readonly FoundObject[];
  /** How many objects of our kinds there are, which go with their definitions. */
  readonly customObjects: number;
  /** Kinds there are, for a second look. */
  readonly kinds: readonly Kind[];
  /** Groups of the API that did not answer. */
  readonly silent: readonly string[];
}

const partOf = 'app.kubernetes.io/part-of=weft';
const gatewayLabel = 'gateway.networking.k8s.io/gateway-name';
/** Made by the controller without the label. */
const unlabelled: readonly { readonly resource: string; readonly name: string }[] = [
  { resource: 'leases', name: 'weft-controller' },
  { resource: 'configmaps', name: 'weft-roots' },
  { resource: 'secrets', name: 'weft-ca' },
];
/** Of every namespace, made by Kubernetes. */
const everywhere = new Set(['configmap/kube-root-ca.crt', 'serviceaccount/default']);
const passing = new Set(['Event', 'Lease', 'EndpointSlice', 'Endpoints']);

export async function findInstallation(client: Client, namespace: string): Promise<Installation> {
  const { kinds, silent } = await discoverAll(client);
  const found = await Promise.all(
    kinds
      .filter(({ group }) => group !== 'weft.dev')
      .map((kind) => listObjects(client, kind, { labelSelector: partOf })),
  );
  const labelled = found.flat();
  const own = labelled.filter(({ kind, metadata }) => isOwn(kind, metadata, namespace));
  const named = await Promise.all(unlabelled.map((each) => findNamed(client, kinds, { ...each, namespace })));
  const known = new Set(own.map(keyOf));
  const definitions = labelled.filter(
    ({ kind, metadata }) => isDefinition(kind) && metadata.name.endsWith('.weft.dev'),
  );
  return {
    namespace,
    namespaceMeta: await namespaceMeta(client, namespace),
    hasTunnels: own.some(({ kind }) => kind.kind === 'DaemonSet'),
    own: [
      ...own,
      ...named.filter((object) => object !== undefined && !known.has(keyOf(object))),
    ] as FoundObject[],
    waypoints: labelled.filter(({ metadata }) => isOfWaypoint(metadata)),
    definitions,
    customObjects: await countCustom(client, kinds),
    kinds,
    silent,
  };
}

/** What others have in the mesh's namespace; it is asked for when ours is gone. */
export async function othersIn(
  client: Client,
  { namespace, kinds }: Pick<Installation, 'namespace' | 'kinds'>,
): Promise<readonly FoundObject[]> {
  const namespaced = kinds.filter(({ isNamespaced, kind }) => isNamespaced && !passing.has(kind));
  const found = await Promise.all(
    namespaced.map(async (kind) => (await orMissing(listObjects(client, kind, { namespace }))) ?? []),
  );
  return found.flat().filter(({ kind, metadata }) => {
    const isOwned = (metadata.ownerReferences ?? []).length > 0;
    return !isOwned && !everywhere.has(`${kind.kind.toLowerCase()}/${metadata.name}`);
  });
}

export async function namespaceMeta(client: Client, name: string): Promise<ObjectMeta | undefined> {
  const found = await orMissing(
    client.request<{ metadata: ObjectMeta }>({ path: `/api/v1/namespaces/${name}` }),
  );
  return found?.metadata;
}

/** What has an owner goes with it. */
function isOwn(kind: Kind, { namespace, ownerReferences = [] }: ObjectMeta, own: string): boolean {
  if (kind.kind === 'Namespace' || isDefinition(kind) || ownerReferences.length > 0) return false;
  return !kind.isNamespaced || namespace === own;
}

function isOfWaypoint({ labels, ownerReferences = [] }: ObjectMeta): boolean {
  return labels?.[gatewayLabel] !== undefined && ownerReferences.some(({ kind }) => kind === 'Gateway');
}

function isDefinition({ kind }: Kind): boolean {
  return kind === 'CustomResourceDefinition';
}

async function findNamed(
  client: Client,
  kinds: readonly Kind[],
  {
    resource,
    name,
    namespace,
  }: { readonly resource: string; readonly name: string; readonly namespace: string },
): Promise<FoundObject | undefined> {
  const kind = kinds.find((candidate) => candidate.resource === resource);
  if (kind === undefined) return undefined;
  return (await listObjects(client, kind, { namespace })).find(({ metadata }) => metadata.name === name);
}

async function countCustom(client: Client, kinds: readonly Kind[]): Promise<number> {
  const own = kinds.filter(({ group }) => group === 'weft.dev');
  const lists = await Promise.all(own.map((kind) => listObjects(client, kind, {})));
  return lists.flat().length;
}

function keyOf({ kind, metadata }: FoundObject): string {
  return `${kind.path} ${metadata.namespace ?? ''} ${metadata.name}`;
}
