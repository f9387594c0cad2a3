// The metadata of a Kubernetes object, trimmed to what the mesh reads. Values are validated: names and namespaces
// hold no slash, so they are safe as parts of keys.

import { z } from 'zod';

/** Names of objects: RFC 1123 subdomain, as the API server demands. */
export const objectNamePattern = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
/** Names of namespaces and Services: RFC 1123 label. */
export const labelNamePattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

const stringMap = z
  .record(z.string(), z.string())
  .nullish()
  .transform((map) => map ?? {});

const ownerReference = z.object({
  kind: z.string(),
  name: z.string(),
  controller: z.boolean().optional(),
});

export const objectMetaSchema = z.object({
  name: z
    .string()
    .min(1)
    .max(253)
    .regex(
      objectNamePattern,
      'must be lower case letters, digits, "-" and ".", and start and end with a letter or digit',
    ),
  namespace: z
    .string()
    .min(1)
    .max(63)
    .regex(
      labelNamePattern,
      'must be lower case letters, digits and "-", and start and end with a letter or digit',
    )
    .optional(),
  labels: stringMap,
  annotations: stringMap,
  /** RFC 3339; decides which of two conflicting objects came first. */
  creationTimestamp: z.string().nullish(),
  deletionTimestamp: z.string().nullish(),
  generation: z.number().int().nonnegative().optional(),
  uid: z.string().max(64).optional(),
  ownerReferences: z.array(ownerReference).default([]),
});

export interface ObjectMeta {
  readonly name: string;
  /** `''` for a cluster-scoped object. */
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly creationTimestamp: string;
  readonly deleting: boolean;
  readonly generation?: number;
  /** As the API server has it; files rarely have one. */
  readonly uid?: string;
  readonly ownerReferences: readonly {
    readonly kind: string;
    readonly name: string;
    readonly controller?: boolean | undefined;
  }[];
}

/** Drops what the mesh does not read and gives a namespaced object without a namespace the namespace `default`. */
export function trimObjectMeta(meta: z.output<typeof objectMetaSchema>, namespaced: boolean): ObjectMeta {
  return {
    name: meta.name,
    namespace: namespaced ? (meta.namespace ?? 'default') : '',
    labels: meta.labels,
    annotations: meshAnnotations(meta.annotations),
    creationTimestamp: meta.creationTimestamp ?? '',
    deleting: typeof meta.deletionTimestamp === 'string',
    ...(meta.generation === undefined ? {} : { generation: meta.generation }),
    ...(meta.uid === undefined ? {} : { uid: meta.uid }),
    ownerReferences: meta.ownerReferences,
  };
}

/** Only ours and Istio's: others hold whole manifests (`kubectl.kubernetes.io/last-applied-configuration`). */
function meshAnnotations(annotations: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const kept = Object.entries(annotations).filter(([key]) => /(^|\.)(weft\.dev|istio\.io)\//.test(key));
  return Object.fromEntries(kept);
}
