import { networkInterfaces } from 'node:os';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiServer } from './api-server.ts';
import { kubernetesVersion } from './programs.ts';

let server: ApiServer;

beforeAll(async () => {
  server = await ApiServer.start({ audit: true, controllers: ['namespace-controller'] });
});
afterAll(() => server.close());

describe('ApiServer', () => {
  it('is in a network namespace that has nothing but loopback', () => {
    expect(Object.keys(networkInterfaces())).toEqual(['lo']);
  });

  it('is a real API server that kubectl speaks to', async () => {
    const version = JSON.parse(await server.kubectlOk(['version', '-o', 'json']));
    expect(version.serverVersion.gitVersion).toBe(`v${kubernetesVersion}`);
    await server.apply('apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }');
    expect(await server.kubectlOk(['get', 'namespace', 'shop', '-o', 'name'])).toBe('namespace/shop\n');
    await server.kubectlOk(['delete', 'namespace', 'shop', '--wait=true']);
  });

  it('keeps its state over a restart of server and etcd', async () => {
    await server.apply('apiVersion: v1\nkind: Namespace\nmetadata: { name: kept }');
    await server.stopServer();
    await server.stopEtcd();
    server.startEtcd();
    await server.startServer();
    expect(await server.kubectlOk(['get', 'namespace', 'kept', '-o', 'name'])).toBe('namespace/kept\n');
  });

  it('tells users apart by certificate and refuses what RBAC does not grant', async () => {
    const kubeconfig = await server.kubeconfigOf({ user: 'nobody' });
    const { status, stderr } = await server.kubectl(['get', 'namespaces'], { kubeconfig });
    expect(status).not.toBe(0);
    expect(stderr).toContain('User "nobody" cannot list resource "namespaces"');
  });

  it('leaves nothing behind', async () => {
    const other = await ApiServer.start();
    await other.close();
    await other.close();
    expect(existsSync(other.directory)).toBe(false);
  });
});
