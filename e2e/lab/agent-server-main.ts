// The agent's program in a pod: takes {operation, argument}, answers with a result or an error.

import { answer } from './agent-operations.ts';
import type { AgentCall } from './agent-protocol.ts';
import { serveOnLoopback } from './loopback-server.ts';

serveOnLoopback(9500, (question) => answer({ sequence: 0, ...(question as Omit<AgentCall, 'sequence'>) }));
