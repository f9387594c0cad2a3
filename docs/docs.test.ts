// Holds the documents to the code: YAML blocks pass the controller's validation, every flag is documented, links lead
// somewhere, metric and port names exist. A document that lies fails here.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../cli/run-cli.ts';
import { ControllerMetrics } from '../controller/controller-metrics.ts';
import { validateDirectory } from '../controller/validate.ts';
import type { Setting } from '../mesh/runtime/settings.ts';
import { controllerSettings } from '../controller/config.ts';
import { ztunnelSettings } from '../ztunnel/config.ts';
import { ConnectionMetrics, renderMetrics } from '../ztunnel/metrics.ts';
import { NodeMetrics } from '../ztunnel/node-metrics.ts';
import { renderSameNode } from '../ztunnel/same-node-metrics.ts';
import { waypointSettings } from '../waypoint/config.ts';
import { ProcessMetrics } from '../waypoint/telemetry/process-metrics.ts';
import { renderMetrics as renderRequests } from '../waypoint/telemetry/render-metrics.ts';
import { noLoad } from '../waypoint/worker-load.ts';
import { WaypointMetrics } from '../waypoint/telemetry/waypoint-metrics.ts';

const root = join(import.meta.dirname, '..');
const documents = [root, import.meta.dirname].flatMap((directory) =>
  readdirSync(directory)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(directory, name)),
);

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

interface Block {
  readonly where: string;
  readonly text: string;
}

function blocks(language: string): Block[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm');
  return documents.flatMap((file) => {
    const text = readFileSync(file, 'utf8');
    return [...text.matchAll(fence)].map((match) => ({
      where: `${relative(root, file)}:${text.slice(0, match.index).split('\n').length}`,
      text: match[1] as string,
    }));
  });
}

describe('YAML blocks', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-docs-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('there are examples of every own kind', () => {
    const kinds = new Set(
      blocks('yaml').flatMap(({ text }) => [...text.matchAll(/^kind: (\w+)$/gm)].map((match) => match[1])),
    );
    const own = readdirSync(join(root, 'manifests/crds')).map((file) =>
      /^ {4}kind: (\w+)$/m.exec(read(`manifests/crds/${file}`))?.at(1),
    );
    expect(own.filter((kind) => !kinds.has(kind))).toEqual([]);
  });

  test.each(blocks('yaml'))('$where passes the validation', async ({ text }) => {
    const file = join(directory, 'block.yaml');
    writeFileSync(file, text);
    const { problems } = await validateDirectory(directory);
    expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  });

  test('the examples of docs/examples have nothing wrong at all', async () => {
    expect((await validateDirectory(join(root, 'docs/examples'))).lines).toEqual([]);
  });

  test('the README shows the example as it is', () => {
    expect(blocks('yaml').map(({ text }) => text)).toContain(read('docs/examples/two-pods/mesh.yaml'));
  });
});

describe('the command line', () => {
  async function help(...command: string[]): Promise<string> {
    let text = '';
    const output = { out: (part: string) => (text += part), err: (part: string) => (text += part) };
    await runCli([...command, '--help'], output);
    return text;
  }

  /** Every command with its path; a group's own commands follow it. */
  async function commands(path: readonly string[] = []): Promise<string[][]> {
    const listed = /^Commands:\n([\s\S]*?)\n(?:\n|$)/m.exec(await help(...path))?.[1] ?? '';
    const names = [...listed.matchAll(/^ {2}([a-z]+)/gm)].map((match) => match[1] as string);
    const below = names.filter((name) => name !== 'help').map((name) => commands([...path, name]));
    return [[...path], ...(await Promise.all(below)).flat()];
  }

  test('every command and every flag of --help is in CONFIGURATION.md', async () => {
    const page = read('docs/CONFIGURATION.md');
    const missing: string[] = [];
    for (const path of await commands()) {
      const [flagRows, title] = [rowsOf(page, path), path.join(' ')];
      const flags = [...(await help(...path)).matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(
        (match) => match[1] as string,
      );
      for (const flag of flags.filter((name) => name !== '--help' && name !== '--version')) {
        if (!flagRows.includes(`\`${flag}`)) missing.push(`${title} ${flag}`);
      }
      if (flags.length > 1 && !page.includes(`\`${title}`)) missing.push(title);
    }
    expect(missing).toEqual([]);
  });

  /** The rows of the table from the command's own to the next command's. */
  function rowsOf(page: string, path: readonly string[]): string {
    const lines = page.split('\n');
    const start = lines.findIndex((line) => line.startsWith(`| \`${path.join(' ')}`) && path.length > 0);
    if (start < 0) return '';
    const next = lines.findIndex((line, index) => index > start && !line.startsWith('| |'));
    return lines.slice(start, next).join('\n');
  }

  test.each([
    ['controller', controllerSettings],
    ['ztunnel', ztunnelSettings],
    ['waypoint', waypointSettings],
  ])('the row of every setting of the %s ends with its default', (command, settings) => {
    const rows = rowsOf(read('docs/CONFIGURATION.md'), [command]).split('\n');
    const wrong = Object.entries<Setting<unknown>>(settings).filter(([name, { presence, shownFallback }]) => {
      const row = rows.find((line) => line.startsWith(`| | \`--${name} `));
      return !row?.endsWith(` | ${presence === 'required' ? 'required' : defaultText(shownFallback)} |`);
    });
    expect(wrong.map(([name]) => name)).toEqual([]);
  });

  function defaultText(shown: string | undefined): string {
    return shown === undefined ? 'none' : `\`${shown}\``;
  }
});

describe('metrics', () => {
  test('every metric of ztunnel, waypoint and controller is in OPERATIONS.md', async () => {
    const connections = renderMetrics(new ConnectionMetrics().snapshot());
    const sameNode = renderSameNode(undefined);
    const nodeMetrics = new NodeMetrics({ version: 'test' });
    nodeMetrics.showCaptures(() => ({ pods: {}, earlierConnections: 0 }));
    const node = await nodeMetrics.render();
    const requests = renderRequests(new WaypointMetrics().snapshot(), noLoad);
    const waypoint = await new ProcessMetrics({ version: 'test' }).render();
    const controller = new ControllerMetrics({
      connectedNodes: () => 0,
      reportingNodes: () => 0,
      captures: () => new Map(),
      cluster: () => undefined,
      xdsCounters: () => ({ responses: 0, resources: 0, nacks: 0 }),
    });
    const text = `${connections}${sameNode}${node}${requests}${waypoint}${await controller.registry.metrics()}`;
    const own = [...text.matchAll(/^# TYPE ((?:istio|weft|workload)_\w+)/gm)].map(
      (match) => match[1] as string,
    );
    expect(own.length).toBeGreaterThan(15);
    const page = read('docs/OPERATIONS.md');
    expect(own.filter((name) => !page.includes(name.replace(/_total$/, '')))).toEqual([]);
  });
});

describe('links', () => {
  test.each(documents.map((file) => relative(root, file)))('every link of %s leads somewhere', (file) => {
    const links = [...read(file).matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map(
      (match) => match[1] as string,
    );
    expect(links.filter((link) => !leadsSomewhere(file, link))).toEqual([]);
  });

  function leadsSomewhere(file: string, link: string): boolean {
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? file : join(dirname(file), path);
    if (!existsSync(join(root, target))) return false;
    const headings = anchor === undefined ? [] : [...read(target).matchAll(/^#+ (.*)$/gm)];
    return anchor === undefined || headings.some((match) => slug(match[1] as string) === anchor);
  }

  /** As code hosts make anchors of headings. */
  function slug(heading: string): string {
    return heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
  }
});
