// Node reports to and from the wire. A node is trusted with its own pods only as far as its token goes, so decoding bounds
// everything: what is too long is cut, what is too much or has no meaning is left out.

import { create } from '@bufbuild/protobuf';
import type { WorkloadUid } from '../model/workload.ts';
import * as wire from '../xds/gen/weft/v1/node_report_pb.ts';
import {
  type CaptureState,
  type CniFacts,
  maxReportedPods,
  type NodeFacts,
  type NodeReport,
  type PodCapture,
} from './node-report.ts';

const toState: Readonly<Record<CaptureState, wire.PodCapture_State>> = {
  pending: wire.PodCapture_State.PENDING,
  captured: wire.PodCapture_State.CAPTURED,
  failed: wire.PodCapture_State.FAILED,
  bypassed: wire.PodCapture_State.BYPASSED,
};
const fromState: ReadonlyMap<wire.PodCapture_State, CaptureState> = new Map(
  Object.entries(toState).map(([state, value]) => [value, state as CaptureState]),
);
const toCni: Readonly<Record<CniFacts['state'], wire.NodeFacts_Cni>> = {
  off: wire.NodeFacts_Cni.OFF,
  chained: wire.NodeFacts_Cni.CHAINED,
  broken: wire.NodeFacts_Cni.BROKEN,
};
const fromCni: ReadonlyMap<wire.NodeFacts_Cni, CniFacts['state']> = new Map(
  Object.entries(toCni).map(([state, value]) => [value, state as CniFacts['state']]),
);

/** Characters of a name and of a text; a condition's message may have 32 KiB, of which nobody reads as much. */
const maxName = 512;
const maxText = 1_024;
const maxFeatures = 64;
/** `reason` of a condition (metav1.Condition). */
const reasonPattern = /^[A-Za-z](?:[A-Za-z0-9_,:]{0,126}[A-Za-z0-9_])?$/;

export function encodeNodeReport({ complete, sentAt, facts, pods, removed }: NodeReport): wire.NodeReport {
  return create(wire.NodeReportSchema, {
    complete,
    sentAt: BigInt(Math.round(sentAt)),
    ...(facts && { facts: encodeFacts(facts) }),
    pods: pods.map((pod) =>
      create(wire.PodCaptureSchema, {
        ...pod,
        state: toState[pod.state],
        since: BigInt(Math.round(pod.since)),
      }),
    ),
    removed: [...removed],
  });
}

export function decodeNodeReport({ complete, sentAt, facts, pods, removed }: wire.NodeReport): NodeReport {
  return {
    complete,
    sentAt: Number(sentAt),
    facts: facts && decodeFacts(facts),
    pods: pods
      .slice(0, maxReportedPods)
      .map(decodePod)
      .filter((pod) => pod !== undefined),
    removed: removed.slice(0, maxReportedPods).map((uid) => uid as WorkloadUid),
  };
}

function encodeFacts({ cni, startedAt, certificateExpiry, ...facts }: NodeFacts): wire.NodeFacts {
  return create(wire.NodeFactsSchema, {
    ...facts,
    missingFeatures: facts.missingFeatures.map((feature) => create(wire.MissingFeatureSchema, feature)),
    startedAt: BigInt(Math.round(startedAt)),
    cni: toCni[cni.state],
    cniMessage: cni.message,
    ...(certificateExpiry !== undefined && { certificateExpiry: BigInt(Math.round(certificateExpiry)) }),
  });
}

function decodeFacts(facts: wire.NodeFacts): NodeFacts {
  const { instance, version, kernelRelease, startedAt, workers, cgroupRoot, certificateExpiry } = facts;
  return {
    instance: cut(instance, maxName),
    version: cut(version, maxName),
    kernelRelease: cut(kernelRelease, maxName),
    startedAt: Number(startedAt),
    workers,
    cgroupRoot: cut(cgroupRoot, maxText),
    missingFeatures: facts.missingFeatures.slice(0, maxFeatures).map(({ feature, needed, message }) => ({
      feature: cut(feature, maxName),
      needed: cut(needed, maxName),
      message: cut(message, maxText),
    })),
    cni: { state: fromCni.get(facts.cni) ?? 'off', message: cut(facts.cniMessage, maxText) },
    certificateExpiry: certificateExpiry === undefined ? undefined : Number(certificateExpiry),
  };
}

/** Undefined for one in a state that only a newer node tunnel knows, or without names. */
function decodePod({ uid, state, reason, message, since, ...pod }: wire.PodCapture): PodCapture | undefined {
  const known = fromState.get(state);
  const { namespace, name } = pod;
  if (known === undefined || uid === '' || namespace === '' || name === '') return undefined;
  return {
    uid: cut(uid, maxName) as WorkloadUid,
    namespace: cut(namespace, maxName),
    name: cut(name, maxName),
    podUid: cut(pod.podUid, maxName),
    state: known,
    reason: reasonPattern.test(reason) ? reason : 'Unspecified',
    message: cut(message, maxText),
    since: Number(since),
    earlierConnections: pod.earlierConnections,
  };
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 3)}...`;
}
