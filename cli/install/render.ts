// The whole installation as one YAML text for `kubectl apply --server-side -f -`. The same settings give the same
// bytes, so the text can be kept under version control and compared.

import type { Document } from 'yaml';
import {
  customiseDaemonSet,
  customiseDeployment,
  customiseRole,
  exposeMetrics,
  moveNamespace,
} from './customise.ts';
import { readDefinitions, readOptionalFile, readProgramFiles } from './manifest-files.ts';
import type { InstallSettings } from './settings.ts';

export interface InstallParts {
  /** Adds a ServiceMonitor of the Prometheus operator, and the metrics port to the Service. */
  readonly serviceMonitor: boolean;
}

export function renderInstallation(settings: InstallSettings, parts: InstallParts): string {
  return [...readDefinitions().values(), ...renderPrograms(settings, parts).values()].join('---\n');
}

/** Everything but the definitions: the text of each object by its path below manifests/. */
export function renderPrograms(
  settings: InstallSettings,
  { serviceMonitor }: InstallParts,
): ReadonlyMap<string, string> {
  const files = readProgramFiles();
  if ((settings.replicas ?? 1) > 1) files.push(readOptionalFile('pod-disruption-budget.yaml'));
  if (serviceMonitor) files.push(readOptionalFile('service-monitor.yaml'));
  for (const { document } of files) {
    moveNamespace(document, settings.namespace);
    if (document.get('kind') === 'Deployment') customiseDeployment(document, settings);
    if (document.get('kind') === 'DaemonSet') customiseDaemonSet(document, settings);
    if (document.get('kind') === 'Role') customiseRole(document, settings);
    if (serviceMonitor && document.get('kind') === 'Service') exposeMetrics(document);
  }
  return new Map(files.map(({ path, document }) => [path, print(document)]));
}

/** Lines are not folded: they stay as they are in the files. */
function print(document: Document): string {
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}
