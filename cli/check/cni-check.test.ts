import { describe, expect, test } from 'vitest';
import { checkCni } from './cni-check.ts';
import { healthyFacts } from './testing/healthy-facts.ts';

const own = { 'cni-exclusive': 'false' };

describe('checkCni() of Cilium', () => {
  test.each<[Readonly<Record<string, string>>, readonly string[]]>([
    [own, []],
    [{ ...own, 'kube-proxy-replacement': 'false' }, []],
    [{ ...own, 'kube-proxy-replacement': 'true' }, ['error']],
    [{ ...own, 'kube-proxy-replacement': 'strict' }, ['error']],
    [{ ...own, 'bpf-lb-sock': 'true' }, ['error']],
    [{ ...own, 'kube-proxy-replacement': 'true', 'bpf-lb-sock-hostns-only': 'true' }, []],
    [{}, ['warning']],
    [{ 'cni-exclusive': 'true', 'bpf-lb-sock': 'true' }, ['error', 'warning']],
  ])('with %j has findings %j', (ciliumConfig, levels) => {
    const { findings = [] } = checkCni(healthyFacts({ ciliumConfig })) ?? {};
    expect(findings.map(({ level }) => level)).toEqual(levels);
    for (const { fix } of findings) expect(fix).toContain('helm upgrade cilium');
  });
});

describe('checkCni() of Calico', () => {
  test.each([
    [{}, 0],
    [{ bpfEnabled: false }, 0],
    [{ bpfEnabled: true }, 1],
    [{ bpfEnabled: true, bpfConnectTimeLoadBalancing: 'Enabled' }, 1],
    [{ bpfEnabled: true, bpfConnectTimeLoadBalancing: 'Disabled' }, 0],
  ])('with %j has %d findings', (spec, count) => {
    expect(checkCni(healthyFacts({ felix: { spec } }))?.findings).toHaveLength(count);
  });

  test('has nothing to say where neither is', () => {
    expect(checkCni(healthyFacts())).toBeUndefined();
  });
});
