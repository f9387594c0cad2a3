// Which routes a waypoint has taken in, read from what its admin page dumps.

interface RouteSets {
  readonly http: readonly { readonly name: { readonly name: string } }[];
}

interface Routings {
  readonly routings: readonly {
    readonly ports: readonly {
      readonly routes: RouteSets;
      readonly consumers: readonly { readonly routes: RouteSets }[];
    }[];
  }[];
}

/** Names of routes, sorted. */
export function namesOf(routes: readonly object[]): readonly string[] {
  return routes.map((route) => (route as { metadata: { name: string } }).metadata.name).toSorted();
}

/** Names of the routes in a dump, each once, sorted. */
export function routesInForce(dump: string): readonly string[] {
  const { routings } = JSON.parse(dump) as Routings;
  const sets = routings.flatMap(({ ports }) =>
    ports.flatMap(({ routes, consumers }) => [routes, ...consumers.map((consumer) => consumer.routes)]),
  );
  return [...new Set(sets.flatMap(({ http }) => http.map(({ name }) => name.name)))].toSorted();
}
