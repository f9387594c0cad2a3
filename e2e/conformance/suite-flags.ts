// What the suite is told: both profiles of a mesh, every feature their tests ask for, and whose mesh it is.

import { namespaceLabels } from './waypoints.ts';

/** With these no test of the mesh profiles is skipped. */
const features = [
  'Mesh',
  'MeshClusterIPMatching',
  'MeshConsumerRoute',
  'MeshHTTPRouteBackendRequestHeaderModification',
  'MeshHTTPRouteNamedRouteRule',
  'MeshHTTPRouteQueryParamMatching',
  'MeshHTTPRouteRedirectPath',
  'MeshHTTPRouteRedirectPort',
  'MeshHTTPRouteRewritePath',
  'MeshHTTPRouteSchemeRedirect',
  'GRPCRoute',
  'HTTPRoute',
  'HTTPRoute303RedirectStatusCode',
  'HTTPRoute307RedirectStatusCode',
  'HTTPRoute308RedirectStatusCode',
  'HTTPRouteParentRefPort',
  'HTTPRouteResponseHeaderModification',
] as const;

export interface SuiteRun {
  /** Of the project. */
  readonly version: string;
  /** Where the report is written. */
  readonly report: string;
  /** One test alone. */
  readonly test?: string;
}

export function suiteFlags({ version, report, test }: SuiteRun): readonly string[] {
  const labels = Object.entries(namespaceLabels).map(([name, value]) => `${name}=${value}`);
  return [
    '-test.v',
    '-test.run=^TestConformance$',
    '-test.timeout=40m',
    '-conformance-profiles=MESH-HTTP,MESH-GRPC',
    `-supported-features=${features.join(',')}`,
    '-skip-provisional-tests=false',
    `-namespace-labels=${labels.join(',')}`,
    '-mesh-name=weft',
    '-organization=weft',
    '-project=weft',
    '-url=https://weft.dev',
    `-version=v${version}`,
    '-contact=https://weft.dev/contact',
    `-report-output=${report}`,
    ...(test === undefined ? [] : [`-run-test=${test}`]),
  ];
}
