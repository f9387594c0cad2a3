// A workload's half of the labels of Istio's series (WIRE 7): `source_*` or `destination_*`, as finished text, because it
// is the same for all its connections and requests. What is not known reads `unknown`.

import type { Workload } from '../model/workload.ts';
import { formatLabels } from './open-metrics.ts';

export type LabelSide = 'source' | 'destination';

export const unknownLabel = 'unknown';
/** In every label of the series that further label sets share once there are too many. */
export const overflowLabel = 'overflow';

/** Empty values read `unknown`. */
export interface SideLabels {
  readonly workload: string;
  readonly service: string;
  readonly revision: string;
  readonly namespace: string;
  readonly cluster: string;
  readonly region: string;
  readonly zone: string;
}

/** Labels live as long as the workload's object: a snapshot replaces it when it changes. */
const texts = {
  source: new WeakMap<Workload, string>(),
  destination: new WeakMap<Workload, string>(),
};

export function workloadLabels(side: LabelSide, workload: Workload | undefined): string {
  if (workload === undefined) return unknownSides[side];
  let text = texts[side].get(workload);
  if (text === undefined) {
    text = sideLabels(side, {
      workload: workload.workloadName,
      service: workload.canonicalName,
      revision: workload.canonicalRevision,
      namespace: workload.namespace,
      cluster: workload.clusterId,
      region: workload.locality.region,
      zone: workload.locality.zone,
    });
    texts[side].set(workload, text);
  }
  return text;
}

export function sideLabels(side: LabelSide, labels: SideLabels): string {
  const known = (value: string): string => (value === '' ? unknownLabel : value);
  return formatLabels({
    [`${side}_workload`]: known(labels.workload),
    [`${side}_canonical_service`]: known(labels.service),
    [`${side}_canonical_revision`]: known(labels.revision),
    [`${side}_workload_namespace`]: known(labels.namespace),
    [`${side}_app`]: known(labels.service),
    [`${side}_version`]: known(labels.revision),
    [`${side}_cluster`]: known(labels.cluster),
    [`${side}_region`]: known(labels.region),
    [`${side}_zone`]: known(labels.zone),
  });
}

/** The half with one value everywhere, so that a series that stands for many has all labels. */
export function uniformSideLabels(side: LabelSide, value: string): string {
  const who = { workload: value, service: value, revision: value, namespace: value };
  return sideLabels(side, { ...who, cluster: value, region: value, zone: value });
}

const unknownSides = {
  source: uniformSideLabels('source', ''),
  destination: uniformSideLabels('destination', ''),
};
