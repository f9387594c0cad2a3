// The labels of a connection as text, Istio's names (WIRE.md 7). Making it costs more than the rest of counting, and
// connections of a few kinds come over and over: for each destination the latest texts are kept, found by the objects
// that they were made of. A changed workload is another object.

import type { Service } from '../mesh/model/service.ts';
import type { SpiffeId } from '../mesh/model/spiffe-id.ts';
import type { Workload } from '../mesh/model/workload.ts';
import { formatLabels } from '../mesh/telemetry/open-metrics.ts';
import { sideLabels, unknownLabel, workloadLabels } from '../mesh/telemetry/workload-labels.ts';
import type { ConnectionInfo } from './connection-info.ts';

/** Texts kept for one destination, 600 bytes each. */
const keptTexts = 16;

interface LabelText {
  readonly direction: ConnectionInfo['direction'];
  readonly sourceWorkload: Workload | undefined;
  readonly sourceIdentity: SpiffeId | undefined;
  readonly destinationService: Service | undefined;
  readonly destinationServiceName: string | undefined;
  readonly destinationIdentity: SpiffeId | undefined;
  readonly mutualTls: boolean;
  readonly labels: string;
}

interface Texts {
  readonly list: LabelText[];
  /** Replaced next when the list is full. */
  oldest: number;
}

export class LabelTexts {
  readonly #byDestination = new WeakMap<Workload, Texts>();

  /** All labels but `response_flags`. */
  of(info: ConnectionInfo): string {
    const { destinationWorkload } = info;
    // What a peer says of itself is no object of ours.
    if (destinationWorkload === undefined || info.sourceLabels !== undefined) return labelsOf(info);
    let texts = this.#byDestination.get(destinationWorkload);
    if (texts === undefined) {
      texts = { list: [], oldest: 0 };
      this.#byDestination.set(destinationWorkload, texts);
    }
    for (const text of texts.list) if (isOf(text, info)) return text.labels;
    const labels = labelsOf(info);
    texts.list[texts.oldest] = textOf(info, labels);
    texts.oldest = (texts.oldest + 1) % keptTexts;
    return labels;
  }
}

function isOf(text: LabelText, info: ConnectionInfo): boolean {
  return (
    text.sourceWorkload === info.sourceWorkload &&
    text.destinationService === info.destinationService &&
    text.direction === info.direction &&
    text.mutualTls === info.mutualTls &&
    text.sourceIdentity === info.sourceIdentity &&
    text.destinationIdentity === info.destinationIdentity &&
    text.destinationServiceName === info.destinationServiceName
  );
}

function textOf(info: ConnectionInfo, labels: string): LabelText {
  const { direction, sourceWorkload, sourceIdentity, mutualTls } = info;
  const { destinationService, destinationServiceName, destinationIdentity } = info;
  return {
    direction,
    sourceWorkload,
    sourceIdentity,
    destinationService,
    destinationServiceName,
    destinationIdentity,
    mutualTls,
    labels,
  };
}

export function reporterOf(info: ConnectionInfo): 'source' | 'destination' {
  return info.direction === 'outbound' ? 'source' : 'destination';
}

function labelsOf(info: ConnectionInfo): string {
  const { sourceWorkload, destinationWorkload, destinationService: service, mutualTls } = info;
  const source =
    sourceWorkload === undefined ? unknownSource(info) : workloadLabels('source', sourceWorkload);
  const destination = workloadLabels('destination', destinationWorkload);
  const rest = formatLabels({
    source_principal: (mutualTls && info.sourceIdentity) || unknownLabel,
    destination_principal: (mutualTls && info.destinationIdentity) || unknownLabel,
    destination_service: service?.hostname ?? info.destinationServiceName ?? unknownLabel,
    destination_service_namespace: service?.namespace ?? unknownLabel,
    destination_service_name: service?.name ?? unknownLabel,
    request_protocol: 'tcp',
    connection_security_policy: mutualTls ? 'mutual_tls' : unknownLabel,
  });
  return `reporter="${reporterOf(info)}",${source},${destination},${rest}`;
}

/** From the peer's baggage, where there is one: its length is bounded there, its values are not trusted for policy. */
function unknownSource({ sourceLabels }: ConnectionInfo): string {
  if (sourceLabels === undefined) return workloadLabels('source', undefined);
  return sideLabels('source', { ...sourceLabels, region: '', zone: '' });
}
