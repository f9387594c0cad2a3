import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const project = join(import.meta.dirname, '../..');

it.each(['ztunnel/app.ts', 'ztunnel/data-plane.ts', 'waypoint/app.ts', 'waypoint/data/waypoint-plane.ts'])(
  '%s loads no fetch, which takes 5 MB of each thread',
  (file) => {
    const program = `await import('${join(project, file)}');
    console.log(process.moduleLoadList.filter((name) => name.includes('undici')).join());
    process.exit();`;
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    expect(output.trim()).toBe('');
  },
);
