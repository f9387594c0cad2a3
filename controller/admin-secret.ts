// Who may change something through the admin endpoint: whoever can read the state directory. The secret is a file in
// there, made at the first start; a process or a web page that only reaches the loopback port has no part in it.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import { readPrivateFile, writePrivateFile } from '../mesh/runtime/private-file.ts';

export function adminSecretPath(stateDir: string): string {
  return join(stateDir, 'admin-secret');
}

/** The secret of this state directory, or undefined before the controller's first start. Throws PrivateFileError. */
export async function readAdminSecret(stateDir: string): Promise<string | undefined> {
  return (await readPrivateFile(adminSecretPath(stateDir)))?.trim();
}

/** Makes it if there is none. Throws PrivateFileError. */
export async function openAdminSecret(stateDir: string): Promise<string> {
  const known = await readAdminSecret(stateDir);
  if (known !== undefined && known !== '') return known;
  const secret = randomBytes(32).toString('hex');
  await writePrivateFile(adminSecretPath(stateDir), `${secret}\n`);
  return secret;
}

/** @param authorization the header's value */
export function isAuthorized(authorization: string | undefined, secret: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(authorization ?? ''), digest(`Bearer ${secret}`));
}
