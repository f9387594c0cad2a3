// The image of the mesh profile's pods: the lab's echo server and caller (e2e/waypoint), bundled with what they import, and
// a shell to ask them from.

import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { type AddedImage, appConfig } from '../../images/build-images.ts';
import { addFile } from '../../images/root-files.ts';

export const profileImageName = 'weft.test/profile:1';
const programs = fileURLToPath(new URL('../../waypoint/', import.meta.url));
const names = ['echo-main', 'caller-server-main'] as const;

/** The command of a container that runs one of the programs. */
export function profileCommand(name: (typeof names)[number]): readonly string[] {
  return [appConfig.Entrypoint[0] ?? '', `/profile/${name}.js`];
}

export const profileImage: AddedImage = {
  name: profileImageName,
  config: { ...appConfig, Entrypoint: profileCommand('echo-main') },
  fill,
};

async function fill(root: string): Promise<void> {
  const build = await rolldown({
    input: Object.fromEntries(names.map((name) => [name, join(programs, `${name}.ts`)])),
    platform: 'node',
    logLevel: 'silent',
  });
  await build.write({ dir: join(root, 'profile'), format: 'esm', entryFileNames: '[name].js' });
  await build.close();
  writeFileSync(join(root, 'profile/package.json'), '{"type":"module"}\n');
  addFile(root, '/bin/busybox', '/bin/busybox');
  for (const applet of ['sh', 'wget']) symlinkSync('busybox', join(root, 'bin', applet));
}
