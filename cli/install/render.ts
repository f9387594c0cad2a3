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

export function renderInstallation(settings: InstallSettings, { serviceMonitor }: InstallParts): string {
  const documents = readProgramFiles();
  if ((settings.replicas ?? 1) > 1) documents.push(readOptionalFile('pod-disruption-budget.yaml'));
  if (serviceMonitor) documents.push(readOptionalFile('service-monitor.yaml'));
  for (const document of documents) {
    moveNamespace(document, settings.namespace);
    if (document.get('kind') === 'Deployment') customiseDeployment(document, settings);
    if (document.get('kind') === 'DaemonSet') customiseDaemonSet(document, settings);
    if (document.get('kind') === 'Role') customiseRole(document, settings);
    if (serviceMonitor && document.get('kind') === 'Service') exposeMetrics(document);
  }
  return [...readDefinitions(), ...documents.map(print)].join('---\n');
}

/** Lines are not folded: they stay as they are in the files. */
function print(document: Document): string {
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}
