// Golden tests: each testdata/NAME.in.yaml is parsed and translated, and the problems, model and statuses are compared
// with NAME.out.yaml. UPDATE_GOLDEN=1 rewrites the outputs, to be read in review.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { Model } from '../../mesh/model/model.ts';
import { decodeHttpAuthorization, encodeHttpAuthorization } from '../../mesh/xds/http-authorization-codec.ts';
import {
  decodeRequestAuthentication,
  encodeRequestAuthentication,
} from '../../mesh/xds/request-authentication-codec.ts';
import { decodeServiceRouting, encodeServiceRouting } from '../../mesh/xds/routing-codec.ts';
import { decodeWaypoint, encodeWaypoint } from '../../mesh/xds/waypoint-codec.ts';
import { buildResources } from '../resources/resources.ts';
import { parseManifest } from '../source/parse-manifest.ts';
import { formatProblem } from '../source/problem.ts';
import type { Condition, PartStatus } from './statuses.ts';
import { translate } from './translate.ts';

const testdata = fileURLToPath(new URL('./testdata/', import.meta.url));
const update = process.env['UPDATE_GOLDEN'] === '1';

describe('translate()', () => {
  const names = readdirSync(testdata)
    .filter((file) => file.endsWith('.in.yaml'))
    .map((file) => file.slice(0, -'.in.yaml'.length));

  it('has golden cases', () => expect(names.length).toBeGreaterThanOrEqual(20));

  it.each(names)('turns %s.in.yaml into its golden output', (name) => {
    const text = readFileSync(`${testdata}${name}.in.yaml`, 'utf8');
    const output = render(text, name);
    const goldenPath = `${testdata}${name}.out.yaml`;
    if (update) writeFileSync(goldenPath, output);
    expect(output).toBe(readFileSync(goldenPath, 'utf8'));
  });
});

/** What cannot be decoded would stay unknown to a waypoint, whatever the statuses say. */
function undecodable({ routings, waypoints, policies, requestAuthentications }: Model): string[] {
  const decoded = [
    ...[...routings.values()].map((value) => decodeServiceRouting(encodeServiceRouting(value).any)),
    ...[...waypoints.values()].map((value) => decodeWaypoint(encodeWaypoint(value).any)),
    ...[...policies.values()].map((value) => decodeHttpAuthorization(encodeHttpAuthorization(value).any)),
    ...[...requestAuthentications.values()].map((value) =>
      decodeRequestAuthentication(encodeRequestAuthentication(value).any),
    ),
  ];
  return decoded.flatMap((result) => (result.ok ? [] : [result.reason]));
}

/** A first line `# options: {...}` in the input replaces translate's options. */
function render(text: string, name: string): string {
  const line = /^# options: (.*)$/m.exec(text);
  const options = line === null ? { standalone: true } : (JSON.parse(line[1] as string) as object);
  const { objects, problems } = parseManifest(text, `${name}.in.yaml`);
  const resources = buildResources(objects.map(({ typed }) => typed));
  const { model, statuses } = translate(resources, { clusterId: 'Kubernetes', ...options });
  expect(undecodable(model)).toEqual([]);
  const conditions = statuses.map(({ kind, namespace, name, conditions, ...rest }) => ({
    object: `${kind} ${namespace === '' ? name : `${namespace}/${name}`}`,
    conditions: conditions.map(conditionLine),
    ...(rest.parents && { parents: rest.parents.map(renderPart) }),
    ...(rest.ancestors && { ancestors: rest.ancestors.map(renderPart) }),
    ...(rest.gateway && {
      addresses: rest.gateway.addresses.map(({ type, value }) => `${type} ${value}`),
      listeners: rest.gateway.listeners.map((listener) => ({
        name: listener.name,
        conditions: listener.conditions.map(conditionLine),
      })),
    }),
  }));
  const shown = { problems: problems.map(formatProblem), model: plain(model), statuses: conditions };
  return stringify(shown, { lineWidth: 0, aliasDuplicateObjects: false });
}

function conditionLine({ type, status, reason, message }: Condition): string {
  return `${type}=${status} ${reason}: ${message}`;
}

function renderPart({ ref, conditions }: PartStatus): object {
  return { ref: JSON.stringify(ref), conditions: conditions.map(conditionLine) };
}

/** Maps to objects; empty lists, empty maps and empty texts are left out, so that what matters stays readable. */
function plain(value: unknown): unknown {
  if (value instanceof Map) return plain(Object.fromEntries(value));
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    .map(([key, inner]) => [key, plain(inner)] as const)
    .filter(([key, inner]) => inner !== '' && (key === 'matches' || key === 'clauses' || !isEmpty(inner)));
  return Object.fromEntries(entries);
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
