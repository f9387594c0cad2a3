// An istio.workload.Address resource: a workload or a service. The stored key comes from the content, never from
// the resource's name, which may be an alias that was asked for (WIRE 3.2).

import type { Any } from '@bufbuild/protobuf/wkt';
import type { Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import { decode, reject } from './decode-field.ts';
import { AddressSchema } from './gen/istio/workload/workload_pb.ts';
import type { Decoded } from './resource.ts';
import { serviceFromWire } from './service-codec.ts';
import { workloadFromWire } from './workload-codec.ts';

export type Address =
  | { readonly kind: 'workload'; readonly workload: Workload }
  | { readonly kind: 'service'; readonly service: Service };

/** Never throws; the reason names the field. */
export function decodeAddress(any: Any): Decoded<Address> {
  return decode(AddressSchema, any, ({ type }): Address => {
    if (type.case === 'workload') return { kind: 'workload', workload: workloadFromWire(type.value) };
    if (type.case === 'service') return { kind: 'service', service: serviceFromWire(type.value) };
    return reject('type', 'is neither a workload nor a service');
  });
}
