import { describe, expect, it } from 'vitest';
import type { RawObject } from '../kubernetes/kind-watch.ts';
import { type ResourceKind, resourceKinds } from '../resources/resource-kind.ts';
import { keepNoStatus, keepWholeStatus, KindObjects } from './kind-objects.ts';
import { formatProblem } from './problem.ts';

const kindOf = (name: string): ResourceKind => resourceKinds.get(name) as ResourceKind;
const policy = (name: string, { uid = 'u1', ...spec }: Record<string, unknown> = {}): RawObject => ({
  apiVersion: 'weft.dev/v1alpha1',
  metadata: { name, namespace: 'shop', uid: String(uid), generation: 3 },
  spec: { rules: [{}], ...spec },
  status: { conditions: [] },
});
const open = (): KindObjects =>
  new KindObjects(kindOf('AuthorizationPolicy'), { keepStatus: keepWholeStatus });

describe('KindObjects', () => {
  it('keeps an object in its last good version and says so', () => {
    const objects = open();
    objects.put(policy('web', { action: 'DENY' }));
    objects.put(policy('web', { action: 'PERMIT' }));
    expect(objects.objects.get('shop/web')).toMatchObject({ spec: { action: 'DENY' } });
    expect(objects.problems.map(formatProblem)).toEqual([
      'kubernetes: error: AuthorizationPolicy shop/web: spec.action: Must be one of ALLOW, DENY, AUDIT, got "PERMIT"',
      'kubernetes: warning: AuthorizationPolicy shop/web: Its last good version stays in force until the object is right again',
    ]);
    objects.put(policy('web', { action: 'AUDIT' }));
    expect(objects.problems).toEqual([]);
  });

  it('keeps nothing of an object that was made anew under the same name', () => {
    const objects = open();
    objects.put(policy('web', { action: 'DENY' }));
    objects.put(policy('web', { action: 'PERMIT', uid: 'u2' }));
    expect(objects.objects.size).toBe(0);
    expect(objects.problems).toHaveLength(1);
  });

  it('replaces everything when a list is complete, and nothing before', () => {
    const objects = open();
    objects.put(policy('old'));
    const list = objects.beginList();
    list.add(policy('b'));
    list.add(policy('a'));
    expect([...objects.objects.keys()]).toEqual(['shop/old']);
    list.commit();
    expect([...objects.objects.keys()]).toEqual(['shop/a', 'shop/b']);
  });

  it('gives the same map as long as nothing changed', () => {
    const objects = open();
    objects.put(policy('web'));
    const before = objects.objects;
    expect(objects.objects).toBe(before);
    objects.delete(policy('web'));
    expect(objects.objects).not.toBe(before);
  });

  it('knows the status of an object and its uid, also of a broken one', () => {
    const objects = open();
    objects.put(policy('web', { action: 'PERMIT' }));
    expect(objects.live('shop/web')).toEqual({
      uid: 'u1',
      apiVersion: 'weft.dev/v1alpha1',
      resourceVersion: '',
      generation: 3,
      status: { conditions: [] },
    });
  });

  it('holds of a pod only what is in use', () => {
    const pods = new KindObjects(kindOf('Pod'), { keepStatus: keepNoStatus });
    pods.put({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: 'web',
        namespace: 'shop',
        annotations: { 'kubectl.kubernetes.io/last-applied-configuration': 'x'.repeat(1_000) },
        managedFields: [{ manager: 'kubelet', fieldsV1: { 'f:status': {} } }],
      } as RawObject['metadata'],
      spec: { containers: [{ name: 'a', image: 'b', env: [{ name: 'C', value: 'd' }] }], volumes: [{}] },
      status: { podIP: '10.1.0.1', containerStatuses: [{}] },
    });
    const text = JSON.stringify(pods.objects.get('shop/web'));
    for (const dropped of ['last-applied', 'managedFields', 'image', 'env', 'volumes', 'containerStatuses']) {
      expect(text).not.toContain(dropped);
    }
    expect(text).toContain('10.1.0.1');
    expect(pods.live('shop/web')).toBeUndefined();
  });
});
