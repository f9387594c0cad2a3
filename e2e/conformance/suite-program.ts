// The Gateway API project's own conformance suite as one program, built from its pinned Go module.

import { type BuildOptions, builtProgram, type GoProgram } from '../kubernetes/go-program.ts';
import { suiteFolder } from './suite-module.ts';

const suite: GoProgram = {
  name: 'conformance.test',
  folder: 'conformance',
  module: suiteFolder,
  testFile: 'conformance_test.go',
  title: "Gateway API's conformance suite",
  duration: 'about 2 min',
};

/** Path of the program; built once. Throws RigError. */
export async function conformanceSuite(options: BuildOptions): Promise<string> {
  return await builtProgram(suite, options);
}
