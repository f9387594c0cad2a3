// The `weft` command: the process's arguments in, its exit status out.

import { createInterface } from 'node:readline/promises';
import { runCli, type Terminal } from './run-cli.ts';

const terminal: Terminal = {
  async ask(question) {
    using lines = createInterface({ input: process.stdin, output: process.stdout });
    return await lines.question(question);
  },
};

process.exitCode = await runCli(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  ...(process.stdin.isTTY && process.stdout.isTTY && { terminal }),
});
