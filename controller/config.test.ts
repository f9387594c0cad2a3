import { describe, expect, it } from 'vitest';
import { parseControllerConfig, splitAddress } from './config.ts';

const required = { config: '/etc/weft', state: '/var/lib/weft' };

describe('parseControllerConfig()', () => {
  it('has defaults for everything but the two directories, and freezes the result', () => {
    const result = parseControllerConfig(required);
    if (!result.ok) throw new Error(result.problems.join());
    expect(result.config).toMatchObject({
      source: { kind: 'directory', path: '/etc/weft' },
      stateDir: '/var/lib/weft',
      address: '127.0.0.1:15012',
      adminAddress: '127.0.0.1:15014',
      clusterId: 'Kubernetes',
      trustDomain: 'cluster.local',
      certificateLifeSeconds: 86_400,
    });
    expect(Object.isFrozen(result.config)).toBe(true);
  });

  it('reports every wrong option at once', () => {
    const result = parseControllerConfig({
      config: '',
      address: 'host',
      'certificate-life': '1',
      'log-format': 'xml',
      'log-level': 'loud',
    });
    expect(result.ok ? [] : result.problems.map((problem) => problem.split(' ')[0])).toEqual([
      '--config',
      '--state',
      '--address',
      '--certificate-life',
      '--log-level',
      '--log-format',
    ]);
  });

  it.each([
    [{ kubeconfig: '/k' }, { kind: 'cluster', kubeconfig: '/k', namespace: 'weft-system' }],
    [
      { kubeconfig: 'in-cluster', namespace: 'mesh' },
      { kind: 'cluster', kubeconfig: undefined, namespace: 'mesh' },
    ],
  ])('reads a cluster with %j', (flags, source) => {
    expect(parseControllerConfig({ state: '/s', ...flags })).toMatchObject({ ok: true, config: { source } });
  });

  it.each([[{}], [{ config: '/c', kubeconfig: '/k' }]])('refuses %j as a source', (flags) => {
    const result = parseControllerConfig({ state: '/s', ...flags });
    expect(result.ok ? '' : result.problems.join()).toContain('either --config <dir> or --kubeconfig <file>');
  });

  it('never asks for certificates that live longer than the shortest life', () => {
    const result = parseControllerConfig({ ...required, 'certificate-life': '20' });
    expect(result.ok && result.config).toMatchObject({
      certificateLifeSeconds: 20,
      minCertificateLifeSeconds: 20,
    });
  });

  it('names the address it listens on in its certificate, or all of the machine', () => {
    const names = (address: string) => {
      const result = parseControllerConfig({ ...required, address, 'server-name': ['mesh.example'] });
      return result.ok ? result.config.serverNames : [];
    };
    expect(names('192.0.2.7:15012')).toEqual(
      expect.arrayContaining(['mesh.example', 'localhost', '192.0.2.7']),
    );
    expect(names('[::]:15012')).toEqual(expect.arrayContaining(['127.0.0.1']));
    expect(names('[::]:15012')).not.toContain('::');
  });
});

describe('splitAddress()', () => {
  it.each([
    ['127.0.0.1:15012', { ip: '127.0.0.1', port: 15012 }],
    ['[::1]:0', { ip: '::1', port: 0 }],
    ['0.0.0.0:10', { ip: '0.0.0.0', port: 10 }],
  ])('reads %s', (text, expected) => expect(splitAddress(text)).toEqual(expected));

  it.each(['localhost:80', '127.0.0.1', ':80', '::1:80', '127.0.0.1:65536', ''])('refuses %j', (text) => {
    expect(splitAddress(text)).toBeUndefined();
  });
});
