// Which routes of a service port concern a client: those of its own namespace if it has any (consumer routes), else the
// service owner's. They are not merged: a consumer's routes replace the owner's (GEP-1294, Namespace boundaries).

import type { PortRouting, RouteSet } from '../../mesh/model/routing.ts';
import { type CompiledRoutes, type CompileOptions, compileRoutes } from './router.ts';

/** `namespace` is that of the client's verified identity; undefined if it has none. */
export function routesFor(port: PortRouting, namespace: string | undefined): RouteSet {
  if (namespace === undefined || port.consumers.length === 0) return port.routes;
  return port.consumers.find((consumer) => consumer.namespace === namespace)?.routes ?? port.routes;
}

/** The compiled HTTP routes of one port; each set is compiled when its first request comes. */
export interface PortRoutesOptions extends CompileOptions {
  /** Is told of each match that takes no requests, once. */
  readonly problem?: (message: string) => void;
}

export class PortRoutes {
  readonly #port: PortRouting;
  readonly #options: PortRoutesOptions;
  readonly #compiled = new Map<RouteSet, CompiledRoutes>();

  constructor(port: PortRouting, options: PortRoutesOptions = {}) {
    this.#port = port;
    this.#options = options;
  }

  for(namespace: string | undefined): CompiledRoutes {
    const routes = routesFor(this.#port, namespace);
    let compiled = this.#compiled.get(routes);
    if (compiled === undefined) {
      compiled = compileRoutes(routes, this.#options);
      for (const { rule, reason } of compiled.problems)
        this.#options.problem?.(
          `${rule.kind} ${rule.namespace}/${rule.name}: a match of rule ${rule.rule} takes no requests: ${reason}`,
        );
      this.#compiled.set(routes, compiled);
    }
    return compiled;
  }
}
