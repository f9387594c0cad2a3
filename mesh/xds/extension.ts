// The `extensions` fields of istio.workload and istio.security messages: how what only Weft knows travels with
// Istio's own resources. Extensions of others are ignored, as every node tunnel does.

import { create, type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { unpackField } from './decode-field.ts';
import { type Extension, ExtensionSchema } from './gen/istio/workload/workload_pb.ts';

export function encodeExtension<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): Extension {
  const config = { typeUrl: `type.googleapis.com/${schema.typeName}`, value: toBinary(schema, message) };
  return create(ExtensionSchema, { name: schema.typeName, config });
}

/** The first extension of that type; throws FieldRejected if it does not decode. */
export function findExtension<Desc extends DescMessage>(
  extensions: readonly Extension[],
  schema: Desc,
): MessageShape<Desc> | undefined {
  for (const { config } of extensions) {
    if (config?.typeUrl === `type.googleapis.com/${schema.typeName}`) {
      return unpackField(schema, config, `extensions["${schema.typeName}"]`);
    }
  }
  return undefined;
}
