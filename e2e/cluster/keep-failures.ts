// Keeps what explains a failure: for each test that failed a folder with the logs of every node and pod, and what the
// API server holds.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFailed, beforeEach } from 'vitest';
import { session, sessionCluster } from './session.ts';

const questions: Readonly<Record<string, readonly string[]>> = {
  'objects.txt': ['get', 'nodes,pods,services,endpointslices,deployments,daemonsets', '-A', '-o', 'wide'],
  'pods.yaml': ['get', 'pods', '-A', '-o', 'yaml'],
  'events.txt': ['get', 'events', '-A', '--sort-by=.lastTimestamp'],
};

beforeEach(({ task }) => {
  onTestFailed(async () => {
    const folder = join(session().failures, task.name.replaceAll(/[^A-Za-z0-9]+/g, '-').slice(0, 80));
    mkdirSync(folder, { recursive: true });
    const cluster = sessionCluster();
    for (const [file, args] of Object.entries(questions)) {
      const { stdout, stderr } = await cluster.kubectl.run(args);
      writeFileSync(join(folder, file), stdout + stderr);
    }
    await cluster.collectLogs(join(folder, 'logs'));
    console.error(`e2e: logs of the failed test are in ${folder}`);
  });
});
