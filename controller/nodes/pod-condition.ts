// The condition `weft.dev/Captured` of a pod: what it says for what is known. Pure; whether it is written, and when, is
// pod-conditions.ts.

import type { PodCapture } from '../../mesh/node-report/node-report.ts';
import type { CaptureAnswer } from './node-table.ts';

export const capturedConditionType = 'weft.dev/Captured';

export interface PodCondition {
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

/** Undefined: nothing is known yet, and what the pod says stays. */
export function conditionOf(node: string, answer: CaptureAnswer): PodCondition | undefined {
  switch (answer.kind) {
    case 'awaited':
      return undefined;
    case 'silent': {
      const message = `The node tunnel of "${node}" does not report: it is away, or older than the controller`;
      return { status: 'Unknown', reason: 'NodeNotReporting', message };
    }
    case 'untold': {
      const message = `The node tunnel of "${node}" has not heard of this pod yet`;
      return { status: 'False', reason: 'Waiting', message };
    }
    case 'told':
      return conditionOfCapture(node, answer.capture);
  }
}

function conditionOfCapture(node: string, capture: PodCapture): PodCondition {
  const { state, reason, message, earlierConnections } = capture;
  const older =
    earlierConnections === 0
      ? ''
      : `${roughly(earlierConnections)} opened before pass the mesh by until they end`;
  if (state === 'captured') {
    const proof = message === '' ? `The node tunnel of "${node}" proved it` : message;
    return { status: 'True', reason, message: older === '' ? proof : `${proof}; ${older}` };
  }
  return { status: 'False', reason, message: message === '' ? `The pod is ${state}` : message };
}

/** Says when it is a few and when it is many, and is not another text for each that ends. */
function roughly(connections: number): string {
  if (connections <= 10) return `${connections} connection${connections === 1 ? '' : 's'}`;
  return `more than ${10 ** Math.floor(Math.log10(connections - 1))} connections`;
}

export const hostNetworkCondition: PodCondition = {
  status: 'False',
  reason: 'HostNetwork',
  message: 'Not captured: the pod uses the network of its node, which mesh pods cannot',
};
