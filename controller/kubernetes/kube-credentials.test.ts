import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KubeCredentials } from './kube-credentials.ts';
import { KubeError } from './kube-error.ts';

let directory: string;
let kubeconfig: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-kubeconfig-'));
  kubeconfig = join(directory, 'config');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** In one step, as kubelets and tools do. */
function put(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

function putConfig(user: object, server = 'https://api.example:6443'): void {
  put(
    kubeconfig,
    JSON.stringify({
      'current-context': 'a',
      clusters: [{ name: 'a', cluster: { server } }],
      users: [{ name: 'me', user }],
      contexts: [{ name: 'a', context: { cluster: 'a', user: 'me' } }],
    }),
  );
}

async function bearer(credentials: KubeCredentials): Promise<string | undefined> {
  return (await credentials.current()).headers['Authorization'];
}

describe('KubeCredentials', () => {
  it('reads a token file anew for each request, without the line end, before a token beside it', async () => {
    put(join(directory, 'token'), 'first\n');
    putConfig({ tokenFile: 'token', token: 'inline' });
    const credentials = KubeCredentials.fromFile(kubeconfig);
    expect(await bearer(credentials)).toBe('Bearer first');
    put(join(directory, 'token'), 'second\n');
    expect(await bearer(credentials)).toBe('Bearer second');
  });

  it('goes on with the last token while the file is missing or empty', async () => {
    const file = join(directory, 'token');
    put(file, 'first');
    putConfig({ tokenFile: file });
    const credentials = KubeCredentials.fromFile(kubeconfig);
    expect(await bearer(credentials)).toBe('Bearer first');
    put(file, '');
    expect(await bearer(credentials)).toBe('Bearer first');
    rmSync(file);
    expect(await bearer(credentials)).toBe('Bearer first');
  });

  it('says so when there never was a token', async () => {
    putConfig({ tokenFile: 'nowhere' });
    const error: unknown = await bearer(KubeCredentials.fromFile(kubeconfig)).catch((reason) => reason);
    expect(error).toBeInstanceOf(KubeError);
    expect((error as KubeError).message).toMatch(/^Cannot get credentials .*nowhere/);
  });

  it('reads a kubeconfig that was replaced, and keeps the last one while it is half written or gone', async () => {
    putConfig({ token: 'first' });
    const credentials = KubeCredentials.fromFile(kubeconfig);
    expect(await bearer(credentials)).toBe('Bearer first');
    put(kubeconfig, '{"users": [');
    expect(await bearer(credentials)).toBe('Bearer first');
    rmSync(kubeconfig);
    expect(await bearer(credentials)).toBe('Bearer first');
    putConfig({ token: 'second' }, 'https://other.example');
    expect(await bearer(credentials)).toBe('Bearer second');
    expect(credentials.server.origin).toBe('https://other.example');
  });

  it.each([
    ['that is missing', undefined],
    ['without a context', '{"users": []}'],
    ['that is no YAML', '{"users": ['],
  ])('refuses a kubeconfig %s', (_what, text) => {
    if (text !== undefined) put(kubeconfig, text);
    expect(() => KubeCredentials.fromFile(kubeconfig)).toThrow(KubeError);
  });
});
