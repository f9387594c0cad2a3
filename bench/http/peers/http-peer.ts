// What is compared: an HTTP proxy with one worker and the same routes. Two ports, each with a canary by header, a 95/5
// split and a request timeout of 10 s, in front of the same two servers.

import type { LabProcess } from '../../../e2e/lab/lab-process.ts';
import type { HttpSite } from '../http-site.ts';

export interface HttpPeer {
  readonly name: 'envoy' | 'nginx' | 'haproxy' | 'weft';
  readonly title: string;
  /** @param routes how many further path rules stand before the one that is taken: 10 or 1,000 */
  start(site: HttpSite, options: { readonly routes: number }): LabProcess;
}

export const timeoutSeconds = 10;
export const canaryPercent = 5;
