// Weft installed into an API server as a user would do it: what `weft install` prints goes to kubectl. Then gives what
// a test needs of it: the arguments of the controller's container, and credentials of its ServiceAccount and nothing else.

import { readFile } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';
import { runCli } from '../../cli/run-cli.ts';
import type { ApiServer } from './api-server.ts';
import type { Manifest } from './object-writer.ts';
import { RigError } from './rig-error.ts';

export interface Installation {
  /** What was printed. */
  readonly text: string;
  readonly objects: readonly Manifest[];
  /** Of the controller's container. */
  readonly args: readonly string[];
}

/** The output of `weft install`. Throws RigError if it fails. */
export async function printInstallation(...options: readonly string[]): Promise<Installation> {
  let text = '';
  let errors = '';
  const output = { out: (part: string) => (text += part), err: (part: string) => (errors += part) };
  const status = await runCli(['install', ...options], output);
  if (status !== 0) throw new RigError('COMMAND_FAILED', `weft install ended with ${status}: ${errors}`);
  const objects = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  const deployment = objects.find(({ kind }) => kind === 'Deployment') as unknown as Deployment;
  return { text, objects, args: deployment.spec.template.spec.containers[0].args };
}

/** Exactly the command the documents tell users. */
export async function applyInstallation(server: ApiServer, { text }: Installation): Promise<string> {
  return await server.kubectlOk(['apply', '--server-side', '-f', '-'], text);
}

/** Kubeconfig of a ServiceAccount, by a token such as the kubelet mounts. */
export async function accountKubeconfig(
  server: ApiServer,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): Promise<string> {
  const args = ['create', 'token', name, '-n', namespace, '--duration=2h'];
  const token = (await server.kubectlOk(args)).trim();
  return await server.keys.tokenKubeconfig(name, token, server.url);
}

/** A token of a node tunnel's ServiceAccount, bound to its pod, for the controller to review. */
export async function nodeToken(server: ApiServer, pod: string): Promise<string> {
  const bound = ['--bound-object-kind=Pod', `--bound-object-name=${pod}`];
  const args = [
    'create',
    'token',
    'weft-ztunnel',
    '-n',
    'weft-system',
    '--audience=weft',
    '--duration=1h',
    ...bound,
  ];
  return (await server.kubectlOk(args)).trim();
}

interface Deployment {
  readonly spec: {
    readonly template: {
      readonly spec: { readonly containers: readonly [{ readonly args: readonly string[] }] };
    };
  };
}

export interface AuditLine {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource: string;
    readonly subresource?: string;
  };
  readonly responseStatus?: { readonly code: number; readonly message?: string };
}

/** What one user asked of the API server, as its audit log has it. */
export async function auditOf(server: ApiServer, username: string): Promise<readonly AuditLine[]> {
  const lines = (await readFile(server.auditLog, 'utf8')).split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as AuditLine).filter(({ user }) => user.username === username);
}

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

/** `verb group/resource` of every right that the roles among the objects grant. */
export function grantedRights(objects: readonly Manifest[]): ReadonlySet<string> {
  const roles = objects.filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role');
  const rules = roles.flatMap((role) => role['rules'] as Rule[]);
  const rights = rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`)),
    ),
  );
  return new Set(rights);
}

/**
 * In the same form; none for what is no resource, as the lists of what is served, which everybody may read. Applying what
 * is not there takes the right to create besides, which the log shows by the answer only.
 */
export function usedRights({ verb, objectRef, responseStatus }: AuditLine): readonly string[] {
  if (objectRef === undefined) return [];
  const { apiGroup = '', resource, subresource } = objectRef;
  const of = `${apiGroup}/${resource}${subresource === undefined ? '' : `/${subresource}`}`;
  const created = verb === 'patch' && responseStatus?.code === 201;
  return created ? [`${verb} ${of}`, `create ${of}`] : [`${verb} ${of}`];
}
