// The image of the suite's pods, of our own making under the suite's name: the same flags, ports, `client` program and
// output, on Node.

import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type AddedImage, appConfig } from '../images/build-images.ts';

const programs = fileURLToPath(new URL('image/', import.meta.url));
const files = ['echo-server-main.ts', 'echo-client-main.ts', 'grpc-echo.ts'] as const;

export function echoImage(name: string): AddedImage {
  const [node = ''] = appConfig.Entrypoint;
  return { name, config: { ...appConfig, Entrypoint: [node, '/echo/echo-server-main.ts'] }, fill };
}

function fill(root: string): void {
  mkdirSync(join(root, 'echo'), { recursive: true });
  writeFileSync(join(root, 'echo/package.json'), '{"type":"module"}\n');
  for (const file of files) cpSync(join(programs, file), join(root, 'echo', file));
  chmodSync(join(root, 'echo/echo-client-main.ts'), 0o755);
  mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
  symlinkSync('/echo/echo-client-main.ts', join(root, 'usr/local/bin/client'));
  makeCertificate(root);
}

/** Nobody checks it. */
function makeCertificate(root: string): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const names = ['-subj', '/CN=echo', '-days', '30'];
  const out = ['-keyout', join(root, 'cert.key'), '-out', join(root, 'cert.crt')];
  execFileSync('openssl', ['req', '-x509', ...key, ...names, ...out], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  chmodSync(join(root, 'cert.key'), 0o644);
}
