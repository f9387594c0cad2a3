// Which hostnames a name asked for may mean: itself, its Kubernetes expansions, what is left when a search domain is
// taken off, and the wildcards above each (WIRE.md 7). Pure text; what exists is the caller's business.

export interface NameCandidate {
  /** A hostname to look up, lower case. */
  readonly hostname: string;
  /** The name it was found for where that is not the name asked: the target of a CNAME. */
  readonly stripped: string | undefined;
}

/** Best first. At most about 8 times the number of labels. */
export function* nameCandidates(
  name: string,
  client: { readonly namespace: string; readonly clusterDomain: string },
): Generator<NameCandidate, void> {
  const { namespace, clusterDomain } = client;
  yield* expansions(name, client, undefined);
  for (const search of [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain]) {
    if (!name.endsWith(`.${search}`)) continue;
    const stripped = name.slice(0, -search.length - 1);
    yield* expansions(stripped, client, stripped);
  }
}

function* expansions(
  name: string,
  { namespace, clusterDomain }: { readonly namespace: string; readonly clusterDomain: string },
  stripped: string | undefined,
): Generator<NameCandidate, void> {
  yield* withWildcards(name, stripped);
  const labels = name.split('.');
  if (labels.length > 4) return;
  const isShortSvc = labels.length >= 3 && labels.at(-1) === 'svc';
  if (isShortSvc) yield* withWildcards(`${name}.${clusterDomain}`, stripped);
  else {
    // As the search list of a pod: the own namespace, then `svc`. Two labels may be a pod of a headless service.
    if (labels.length <= 2) yield* withWildcards(`${name}.${namespace}.svc.${clusterDomain}`, stripped);
    if (labels.length === 2 || labels.length === 3)
      yield* withWildcards(`${name}.svc.${clusterDomain}`, stripped);
  }
}

function* withWildcards(hostname: string, stripped: string | undefined): Generator<NameCandidate, void> {
  yield { hostname, stripped };
  for (let dot = hostname.indexOf('.'); dot >= 0; dot = hostname.indexOf('.', dot + 1)) {
    yield { hostname: `*${hostname.slice(dot)}`, stripped };
  }
}
