// The agent's program in a lab: runs inside a pod's or node's namespace and does there what it is asked over Node's
// channel. Ends when the channel closes, so it never outlives its owner.

import { answer } from './agent-operations.ts';
import type { AgentCall } from './agent-protocol.ts';

process.on('message', (call: AgentCall) => {
  void answer(call).then((reply) => process.send?.(reply));
});
process.on('disconnect', () => process.exit(0));
