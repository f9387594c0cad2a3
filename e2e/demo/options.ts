// The demo's command line.

import { parseArgs } from 'node:util';

export interface DemoOptions {
  readonly json: boolean;
  readonly keep: boolean;
  readonly clean: boolean;
  readonly help: boolean;
}

export const usage = `Usage: npm run demo [-- OPTIONS]

Shows the mesh at work on this machine: two nodes, eleven pods, one controller, a ztunnel a node and a
waypoint, in network namespaces of their own. Needs root. Nothing is left behind.

  --json    print one JSON line a step
  --keep    leave everything running, and say what to try
  --clean   remove what --keep or a crash left, and end
  --help    this text

Examples:
  npm run demo
  npm run demo -- --keep
`;

/** Throws with a message for the user when the arguments make no sense. */
export function parseDemoOptions(argv: readonly string[]): DemoOptions {
  const flag = { type: 'boolean', default: false } as const;
  const options = { json: flag, keep: flag, clean: flag, help: { ...flag, short: 'h' } } as const;
  return parseArgs({ args: [...argv], options, strict: true }).values;
}
