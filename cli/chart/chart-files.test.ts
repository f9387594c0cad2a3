import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { CliError } from '../cli-error.ts';
import { installSettingsOf } from '../install/set-values.ts';
import { installSettings } from '../install/settings.ts';
import { chartFiles } from './chart-files.ts';
import { chartSettings, type SettingKey } from './chart-settings.ts';

const root = join(import.meta.dirname, '../..');
const files = chartFiles();
const schema = JSON.parse(files.get('values.schema.json') ?? '') as object;
const validate = new Ajv({ allowUnionTypes: true, strictTypes: false }).compile(schema);

/** What is given to every key, by `--set` and as Helm reads a value. */
const samples = [
  'weft',
  'Weft',
  'a.b',
  'a_b',
  '-a',
  'a/b:1',
  '',
  'x'.repeat(64),
  '0',
  '1',
  '9',
  '10',
  '604800',
  '604801',
  '1.5',
  '100m',
  '256Mi',
  '0Mi',
  '1Ti',
  'json',
  'text',
  'debug',
  'silent',
  'Always',
  'never',
  '0.0.0.0',
  '::',
  '::1',
  '/usr/lib/cni',
  '/usr/../cni',
  '/',
];

describe('charts/weft', () => {
  test('is what a generation gives', () => {
    const folder = join(root, 'charts/weft');
    const committed = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const texts = committed.map(
      (path) => [path.slice(folder.length + 1), readFileSync(path, 'utf8')] as const,
    );
    expect(Object.fromEntries(texts)).toEqual(Object.fromEntries(files));
  });

  test('has values that its own schema takes, each with a comment', () => {
    const text = files.get('values.yaml') ?? '';
    const values = parse(text) as Record<string, unknown>;
    expect(validate(values)).toBe(true);
    for (const name of Object.keys(values)) expect(text).toMatch(new RegExp(`# [^\\n]{10,}\\n${name}:`));
  });

  test('has a value for every setting of weft install, and no marker left in a template', () => {
    expect(Object.keys(chartSettings)).toEqual(Object.keys(installSettings));
    for (const text of files.values()) expect(text).not.toContain('MARK');
  });

  test.each(Object.keys(chartSettings) as SettingKey[])('takes for %s what weft install takes', (key) => {
    for (const sample of samples) {
      const { value, fallback } = chartSettings[key];
      // Empty stands for "not said" where the chart shows a value and the installation has none.
      if (sample === '' && fallback === '') continue;
      const isNumber = ['certificate-life', 'replicas'].includes(key);
      const given = isNumber && sample !== '' ? Number(sample) : sample;
      const isTaken = validate({ [value]: Array.isArray(fallback) ? [given] : given });
      expect([sample, isTaken]).toEqual([sample, takes(key, sample)]);
    }
  });

  test('refuses a key it does not know', () => {
    expect(validate({ trustDomian: 'x' })).toBe(false);
  });
});

function takes(key: SettingKey, text: string): boolean {
  try {
    installSettingsOf([`${key}=${text}`], {});
    return true;
  } catch (error) {
    if (error instanceof CliError) return false;
    throw error;
  }
}
