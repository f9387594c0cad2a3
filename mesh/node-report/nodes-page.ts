// The document at /debug/nodes of the controller's admin page: every node of the mesh as its tunnel reported it, by the
// clock of the controller. For programs that read the page; the tunnel itself never loads this file, as zod is large.

import { z } from 'zod';
import { captureStates } from './node-report.ts';

/** ms since the epoch. */
const moment = z.number();

export const podCaptureSchema = z.object({
  namespace: z.string(),
  name: z.string(),
  /** As the pod's condition shows it: `unknown` while its node does not report. */
  state: z.enum([...captureStates, 'unknown']),
  reason: z.string(),
  message: z.string(),
  /** By the node's clock; absent where the controller says it. */
  since: moment.optional(),
  /** Connections that were open before the pod was captured, and still are. */
  earlierConnections: z.number(),
});

export const nodeStateSchema = z.object({
  node: z.string(),
  /** `silent`: it has pods of the mesh and did not report for 30 s, or never. */
  state: z.enum(['reporting', 'silent']),
  /** When the last report came; absent if none ever did. */
  reportedAt: moment.optional(),
  /** The node's clock minus the controller's, ms. */
  clockSkewMs: z.number().optional(),
  version: z.string().optional(),
  kernelRelease: z.string().optional(),
  startedAt: moment.optional(),
  workers: z.number().optional(),
  cgroupRoot: z.string().optional(),
  missingFeatures: z.array(z.object({ feature: z.string(), needed: z.string(), message: z.string() })),
  cni: z.object({ state: z.enum(['off', 'chained', 'broken']), message: z.string() }).optional(),
  certificateExpiry: moment.optional(),
  pods: z.array(podCaptureSchema),
});

export const nodesPageSchema = z.object({
  /** Nodes report to the replica that leads: the page of another one is empty. */
  leading: z.boolean(),
  /** Who leads, as far as known: its pod's name, `_` and a random part; `''` without a cluster. */
  leader: z.string(),
  version: z.string(),
  /** When this was written. */
  now: moment,
  nodes: z.array(nodeStateSchema),
  /** `namespace/name` of pods on the network of their node in namespaces of the mesh: never captured. */
  hostNetworkPods: z.array(z.string()),
});

export type PodCaptureView = z.output<typeof podCaptureSchema>;
export type NodeState = z.output<typeof nodeStateSchema>;
export type NodesPage = z.output<typeof nodesPageSchema>;
