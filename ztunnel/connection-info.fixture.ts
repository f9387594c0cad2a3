// A whole connection from the few fields a test cares about. For tests only.

import { ip } from '../mesh/model/fixture.ts';
import type { ConnectionInfo } from './connection-info.ts';

export function makeConnectionInfo(fields: Partial<ConnectionInfo> = {}): ConnectionInfo {
  return {
    direction: 'outbound',
    startedAt: 1_700_000_000_000,
    sourceAddress: ip('10.77.0.1'),
    sourcePort: 58862,
    sourceWorkload: undefined,
    sourceLabels: undefined,
    sourceIdentity: undefined,
    destinationAddress: ip('10.77.0.2'),
    destinationPort: 15008,
    hboneAuthority: undefined,
    destinationWorkload: undefined,
    destinationService: undefined,
    destinationServiceName: undefined,
    destinationIdentity: undefined,
    mutualTls: false,
    ...fields,
  };
}
