import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ConfigFiles, planChain, planRemoval, pluginName } from './cni-chain.ts';

interface Config {
  readonly plugins?: readonly { readonly type: string }[];
}

const bridge = {
  type: 'bridge',
  bridge: 'cni0',
  ipam: { type: 'host-local', ranges: [[{ subnet: '10.0.0.0/24' }]] },
};
const list = (...plugins: object[]): string => JSON.stringify({ cniVersion: '1.0.0', name: 'pods', plugins });
const single = JSON.stringify({ cniVersion: '0.4.0', name: 'pods', ...bridge });

/** The directory after the plan. */
function apply(files: ConfigFiles, plan: typeof planChain): Map<string, string> {
  const after = new Map(files);
  for (const [name, text] of plan(files).changes) {
    if (text === undefined) after.delete(name);
    else after.set(name, text);
  }
  return after;
}

function typesIn(text: string | undefined): string[] {
  return ((JSON.parse(text ?? '{}') as Config).plugins ?? []).map(({ type }) => type);
}

/** What a container runtime takes: the first by name that says something. */
function usedBy(files: ConfigFiles): string | undefined {
  return [...files.keys()].sort().find((name) => {
    const config = JSON.parse(files.get(name) ?? '') as Config & { type?: string };
    return name.endsWith('.conflist') ? (config.plugins?.length ?? 0) > 0 : config.type !== undefined;
  });
}

describe('planChain()', () => {
  test('appends the plugin to the first list and keeps everything else', () => {
    const files = new Map([
      ['20-other.conflist', list(bridge)],
      ['10-pods.conflist', list(bridge, { type: 'portmap', capabilities: { portMappings: true } })],
    ]);
    const { changes, chained } = planChain(files);
    expect(chained).toBe('10-pods.conflist');
    expect([...changes.keys()]).toEqual(['10-pods.conflist']);
    expect(JSON.parse(changes.get('10-pods.conflist') ?? '')).toEqual({
      cniVersion: '1.0.0',
      name: 'pods',
      plugins: [bridge, { type: 'portmap', capabilities: { portMappings: true } }, { type: pluginName }],
    });
  });

  test('leaves a chain alone that has the plugin, wherever others have put themselves', () => {
    const text = list(bridge, { type: pluginName }, { type: 'bandwidth' });
    expect(planChain(new Map([['10-pods.conflist', text]])).changes.size).toBe(0);
  });

  test('makes a list of a single configuration, which stays as it is and comes after', () => {
    const files = apply(new Map([['10-pods.conf', single]]), planChain);
    expect(files.get('10-pods.conf')).toBe(single);
    expect(usedBy(files)).toBe('10-pods.0-weft.conflist');
    expect(JSON.parse(files.get('10-pods.0-weft.conflist') ?? '')).toEqual({
      cniVersion: '0.4.0',
      name: 'pods',
      plugins: [bridge, { type: pluginName }],
    });
    expect(planChain(files).changes.size).toBe(0);
    files.delete('10-pods.conf');
    expect(apply(files, planChain).size).toBe(0);
  });

  test('follows when another file comes first', () => {
    const files = apply(new Map([['10-pods.conflist', list(bridge)]]), planChain);
    files.set('00-multi.conflist', list({ type: 'multi' }));
    const after = apply(files, planChain);
    expect(typesIn(after.get('00-multi.conflist'))).toEqual(['multi', pluginName]);
    expect(typesIn(after.get('10-pods.conflist'))).toEqual(['bridge']);
  });

  test.each([
    ['nothing', new Map<string, string>(), 'there is no CNI configuration'],
    [
      'a half-written file',
      new Map([['10-a.conflist', '{"cniVersion":']]),
      '10-a.conflist is not a JSON object',
    ],
    ['a version without results', new Map([['10-a.conf', JSON.stringify(bridge)]]), 'chains need 0.3.1'],
    [
      'an old version',
      new Map([['10-a.conflist', list(bridge).replace('1.0.0', '0.3.0')]]),
      'chains need 0.3.1',
    ],
  ])('changes nothing where there is %s, and says so', (_what, files, problem) => {
    const plan = planChain(files);
    expect(plan.changes.size).toBe(0);
    expect(plan.problem).toContain(problem);
  });

  const plugins = fc.array(fc.constantFrom('bridge', 'portmap', 'tuning', pluginName), { maxLength: 4 });
  const write = fc.record({
    name: fc.constantFrom('00-a.conflist', '05-b.conf', '10-c.conflist', '10-c.json', '99-d.conflist'),
    types: plugins,
    extra: fc.jsonValue(),
  });
  const step = fc.oneof(
    write.map((file) => ({ kind: 'write' as const, file })),
    fc.constantFrom('00-a.conflist', '05-b.conf', '10-c.conflist', '10-c.json').map((name) => ({
      kind: 'remove' as const,
      name,
    })),
    fc.constant({ kind: 'chain' as const }),
  );

  test('after any rewrites ends chained once, and undoing it gives back what others wrote', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        let files = new Map<string, string>();
        const own = new Map<string, unknown>();
        for (const item of steps) {
          if (item.kind === 'chain') files = apply(files, planChain);
          else if (item.kind === 'remove') {
            files.delete(item.name);
            own.delete(item.name);
          } else {
            const { name, types, extra } = item.file;
            const base = { cniVersion: '1.0.0', name: 'pods', extra };
            const isList = name.endsWith('.conflist');
            const others = types.filter((type) => type !== pluginName).map((type) => ({ type, extra }));
            const written = types.map((type) => ({ type, extra }));
            if (!isList && others[0] === undefined) continue;
            files.set(
              name,
              JSON.stringify(isList ? { ...base, plugins: written } : { ...base, ...others[0] }),
            );
            own.set(name, isList ? { ...base, plugins: others } : { ...base, ...others[0] });
          }
        }
        const chained = apply(files, planChain);
        const used = usedBy(chained);
        const chains = [...chained.values()].filter((text) => typesIn(text).includes(pluginName));
        expect(chains.length).toBe(used === undefined ? 0 : 1);
        if (used !== undefined)
          expect(typesIn(chained.get(used)).filter((type) => type === pluginName)).toHaveLength(1);
        expect(planChain(chained).changes.size).toBe(0);
        const undone = [...apply(chained, planRemoval)].map(([name, text]) => [name, JSON.parse(text)]);
        expect(Object.fromEntries(undone)).toEqual(JSON.parse(JSON.stringify(Object.fromEntries(own))));
      }),
      { numRuns: 1_000 },
    );
  });
});
