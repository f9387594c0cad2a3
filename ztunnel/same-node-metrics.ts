// The same-node path's own series: how full it is, and what it could not do. Connections are counted with all others.

import { maxLiveFlows, maxShortcuts } from '../bpf/same-node-layout.ts';
import { OpenMetricsText } from '../mesh/telemetry/open-metrics.ts';
import type { SameNodeState } from './same-node.ts';

/** Undefined: the path is off on this node. */
export function renderSameNode(state: SameNodeState | undefined): string {
  const { verdicts, flows, refused, lost, full } = state ?? {
    verdicts: 0,
    flows: 0,
    refused: 0,
    lost: 0,
    full: 0,
  };
  const text = new OpenMetricsText();
  const one = (name: string, type: 'counter' | 'gauge', value: number, help: string): void => {
    text.family(name, type, help);
    text.sample('', value);
  };
  one(
    'weft_same_node_verdicts',
    'gauge',
    verdicts,
    'Destinations that the kernel may connect pods of this node to',
  );
  one('weft_same_node_verdict_capacity', 'gauge', maxShortcuts, 'Verdicts there is room for');
  one('weft_same_node_flows', 'gauge', flows, 'Open connections past the proxy');
  one(
    'weft_same_node_flow_capacity',
    'gauge',
    maxLiveFlows,
    'Open connections past the proxy there is room for',
  );
  one('weft_same_node_full', 'counter', full, 'Connections left to the proxy because there was no room');
  one('weft_same_node_refused', 'counter', refused, 'Connects that changed or lost their verdict meanwhile');
  one('weft_same_node_events_lost', 'counter', lost, 'Events of the kernel that found no room');
  return text.toString();
}
