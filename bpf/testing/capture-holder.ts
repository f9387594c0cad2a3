// A process that captures one pod with pins and lives until it is killed: `capture-holder.ts POD-JSON PIN-DIR`.

import { Redirect } from '../redirect.ts';
import type { TestPod } from './test-network.ts';
import { TestProxy } from './test-proxy.ts';

const [pod, pinDir] = process.argv.slice(2) as [string, string];
const redirect = Redirect.open({ pinDir });
const proxy = new TestProxy(redirect, JSON.parse(pod) as TestPod);
redirect.attach('pod', proxy.capture);
process.stdout.write('ready\n');
