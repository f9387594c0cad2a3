import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { systemClock } from '../mesh/runtime/clock.ts';
import { buildResources, type Resources } from './resources/resources.ts';
import { resourceKinds } from './resources/resource-kind.ts';
import { validateObject } from './source/validate-object.ts';
import { Translator } from './translator.ts';

function resourcesWith(...names: readonly string[]): Resources {
  return buildResources(
    names.map((name) => {
      const raw = {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, namespace: 'shop' },
        spec: { ports: [{ port: 80 }] },
      };
      const kind = resourceKinds.get('Service');
      const typed = kind === undefined ? undefined : validateObject(kind, raw).typed;
      if (typed === undefined) throw new Error('The service of the test is not valid');
      return typed;
    }),
  );
}

function record() {
  const seen: string[] = [];
  const failures: unknown[] = [];
  const translator = new Translator({ clusterId: 'test' }, systemClock, {
    onTranslated: ({ model }) => void seen.push([...model.services.values()].map(({ name }) => name).join()),
    onFailed: (error) => void failures.push(error),
  });
  const settled = async (): Promise<void> => {
    for (let turn = 0; turn < 50; turn++) await nextTurn();
  };
  return { seen, failures, translator, settled };
}

test('the first resources are translated before update() returns', () => {
  const { seen, translator } = record();
  translator.update(resourcesWith('a'), []);
  expect(seen).toEqual(['a']);
});

test('later ones are translated in pieces, between which the loop turns', async () => {
  const { seen, translator, settled } = record();
  translator.update(resourcesWith('a'), []);
  translator.update(resourcesWith('b'), []);
  expect(seen).toEqual(['a']);
  await nextTurn();
  expect(seen).toEqual(['a']);
  await settled();
  expect(seen).toEqual(['a', 'b']);
});

test('of what comes meanwhile only the last is translated, and never nothing', async () => {
  const { seen, translator, settled } = record();
  translator.update(resourcesWith('a'), []);
  translator.update(resourcesWith('b'), []);
  await nextTurn();
  translator.update(resourcesWith('c'), []);
  translator.update(resourcesWith('d'), []);
  await settled();
  expect(seen).toEqual(['a', 'b', 'd']);
});

test('nothing comes after close()', async () => {
  const { seen, translator, settled } = record();
  translator.update(resourcesWith('a'), []);
  translator.update(resourcesWith('b'), []);
  translator.close();
  await settled();
  expect(seen).toEqual(['a']);
});

test('a translation that fails is reported, and the next one is taken', async () => {
  const { seen, failures, translator, settled } = record();
  translator.update(resourcesWith('a'), []);
  translator.update({} as Resources, []);
  await settled();
  expect(failures).toHaveLength(1);
  translator.update(resourcesWith('b'), []);
  await settled();
  expect(seen).toEqual(['a', 'b']);
});
