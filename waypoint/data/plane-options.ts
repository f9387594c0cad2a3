// What a data worker is made with: settings, who it is, whom it tells, and whom it asks for what needs promises.

import type { IpAddress } from '../../mesh/model/ip-address.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { Clock } from '../../mesh/runtime/clock.ts';
import type { TokenJob } from '../jwt/token-job.ts';
import type { PlaneReport } from './plane-report.ts';
import type { WaypointSettings } from './waypoint-settings.ts';

export interface WaypointPlaneOptions {
  readonly settings: WaypointSettings;
  readonly gateway: GatewayKey;
  readonly report: PlaneReport;
  readonly clock: Clock;
  /** In [0, 1); default Math.random. */
  readonly random?: () => number;
  /** Asks for the verification of a token; `answerToken` is to follow. */
  readonly verifyToken?: (job: TokenJob) => void;
  /** Asks for a name's addresses; `answerHostname` is to follow. */
  readonly lookUp?: (hostname: string) => void;
  /** Of the waypoint's pod: its workload's place decides which endpoints are near. */
  readonly address?: IpAddress;
  /** Of `limitTableMemory`: workers that share it enforce rate limits together. */
  readonly limitMemory?: SharedArrayBuffer;
  /** Where endpoints' tunnels listen; default 15008. */
  readonly hbonePort?: number;
}
