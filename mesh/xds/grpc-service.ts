// Method definitions for @grpc/grpc-js from generated service descriptors: paths and binary (de)serialization.
// Decoding failures surface as gRPC status INTERNAL on that call only.

import {
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { GenService } from '@bufbuild/protobuf/codegenv2';
import type { MethodDefinition } from '@grpc/grpc-js';

type Methods<Service> = Service extends GenService<infer Shape> ? Shape : never;

/** Method definitions under the generated (lower camel case) method names. */
export type GrpcServiceDefinition<Service extends DescService> = {
  readonly [Name in keyof Methods<Service>]: Methods<Service>[Name] extends {
    input: infer Input;
    output: infer Output;
  }
    ? Input extends DescMethod['input']
      ? Output extends DescMethod['output']
        ? MethodDefinition<MessageShape<Input>, MessageShape<Output>>
        : never
      : never
    : never;
};

/** For `Server.addService` and for client calls. */
export function grpcService<Service extends DescService>(service: Service): GrpcServiceDefinition<Service> {
  const definitions = service.methods.map((method) => [method.localName, methodDefinition(service, method)]);
  return Object.fromEntries(definitions) as GrpcServiceDefinition<Service>;
}

function methodDefinition(service: DescService, method: DescMethod): MethodDefinition<Message, Message> {
  return {
    path: `/${service.typeName}/${method.name}`,
    originalName: method.localName,
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: (message) => asBuffer(toBinary(method.input, message)),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => asBuffer(toBinary(method.output, message)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}

/** The same memory: a message of 100 MB is not copied once more. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
