// The images made without Docker and those of images/*/Dockerfile hold the same and start the same.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { data, entries } from '../../scripts/bundle.ts';
import { projectRoot } from '../../scripts/command.ts';
import { appConfig, appPrograms, weftConfig } from './build-images.ts';

interface Dockerfile {
  readonly nodeVersion: string | undefined;
  readonly copied: readonly string[];
  readonly packages: readonly string[];
  readonly entrypoint: readonly string[];
  readonly user: string | undefined;
  readonly workingDirectory: string | undefined;
}

/** What is said in the last stage, and everything that is copied from the project in any. */
function readDockerfile(image: string): Dockerfile {
  const text = readFileSync(join(projectRoot, 'images', image, 'Dockerfile'), 'utf8').replaceAll('\\\n', ' ');
  const last = text.slice(text.lastIndexOf('\nFROM '));
  const value = (keyword: string) => new RegExp(`^${keyword} (.*)$`, 'm').exec(last)?.[1];
  const copies = [...text.matchAll(/^COPY (?!--from)(.*)$/gm)];
  return {
    nodeVersion: /^ARG NODE_VERSION=(.*)$/m.exec(text)?.[1],
    copied: copies.flatMap(([, words = '']) => words.split(' ').slice(0, -1)),
    packages: /apt-get install [^&]*?((?: [a-z0-9]+)+) *&&/.exec(last)?.[1]?.trim().split(' ') ?? [],
    entrypoint: JSON.parse(value('ENTRYPOINT') ?? '[]') as string[],
    user: value('USER'),
    workingDirectory: value('WORKDIR'),
  };
}

const manifest = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
};

describe.each([
  ['weft', weftConfig],
  ['app', appConfig],
])('images/%s/Dockerfile', (image, config) => {
  const dockerfile = readDockerfile(image);

  test('has the Node that the project is tested with', () => {
    expect(dockerfile.nodeVersion).toBe(manifest.dependencies['node']);
  });

  test('starts the same program as the same user, who is not root', () => {
    expect(dockerfile.entrypoint).toEqual(config.Entrypoint);
    expect(dockerfile.user).toBe(config.User);
    expect(Number(dockerfile.user)).toBeGreaterThan(0);
  });

  test('copies nothing that is not there', () => {
    const missing = dockerfile.copied.filter((path) => !existsSync(join(projectRoot, path)));
    expect(missing).toEqual([]);
  });
});

describe('images/weft/Dockerfile', () => {
  const dockerfile = readDockerfile('weft');

  test('gives the bundler every folder that programs are made of', () => {
    const wanted = [...entries, ...data].map((path) => path.split('/')[0]);
    expect(dockerfile.copied).toEqual(expect.arrayContaining([...new Set(wanted), 'mesh', 'scripts']));
  });

  test('has the library that is loaded at run time, and the same working directory', () => {
    expect(dockerfile.packages).toEqual(['libbpf1']);
    expect(dockerfile.workingDirectory).toBe(weftConfig.WorkingDir);
  });
});

test('images/app/Dockerfile has the programs that tests start', () => {
  const programs = appPrograms.map((file) => `e2e/${file}`);
  expect(readDockerfile('app').copied).toEqual(programs);
});
