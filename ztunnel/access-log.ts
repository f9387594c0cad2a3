// One access-log line a connection, in the form of the Istio ztunnel (WIRE.md 7): fields in its order, absent ones left
// out, then `response_flags` where a connection did not end in order. Pure: record in, text with a newline out.

import type { Decision } from '../mesh/authz/policy-set.ts';
import { formatHostPort } from '../mesh/model/ip-address.ts';
import { type AccessLogFormat, formatLogLine, type LogField } from '../mesh/proxy/log-line.ts';
import type { ConnectionEnd, ConnectionInfo, ResponseFlag } from './connection-info.ts';

/** The line of a connection that was open. `endedAt` is wall-clock ms. */
export function formatClosed(
  info: ConnectionInfo,
  end: ConnectionEnd,
  options: { readonly endedAt: number; readonly format: AccessLogFormat },
): string {
  const outbound = info.direction === 'outbound';
  const failure: LogField[] =
    end.error === undefined && end.flag === '-'
      ? []
      : [
          ['error', end.error ?? `connection ended with ${end.flag}`, 'quoted'],
          ['response_flags', end.flag === '-' ? undefined : end.flag, 'quoted'],
        ];
  const fields: LogField[] = [
    ...sourceFields(info),
    ...destinationFields(info),
    ['direction', info.direction, 'quoted'],
    // The reporter's own view: outbound, what it sent is what the client sent.
    ['bytes_sent', outbound ? end.received : end.sent, 'bare'],
    ['bytes_recv', outbound ? end.sent : end.received, 'bare'],
    [
      'duration',
      `${Math.max(0, Math.round(end.durationMs ?? options.endedAt - info.startedAt))}ms`,
      'quoted',
    ],
    ['rtt', end.rttUs === undefined ? undefined : `${end.rttUs}us`, 'quoted'],
    ['via', info.via, 'quoted'],
    ...failure,
  ];
  const level = failure.length === 0 ? 'info' : 'error';
  return formatLogLine({ level, message: 'connection complete' }, fields, options);
}

/** The line of a connection that never was open: who, where to as far as it was known, and why. */
export function formatFailed(
  info: ConnectionInfo,
  failure: { readonly flag: ResponseFlag; readonly reason: string },
  options: { readonly endedAt: number; readonly format: AccessLogFormat },
): string {
  // A tunnel that was dialled was dialled as the pod, also if the other side never answered.
  const dialledAsPod = info.direction === 'outbound' && info.hboneAuthority !== undefined;
  const fields: LogField[] = [
    ...sourceFields(info, info.mutualTls || dialledAsPod),
    ...destinationFields(info),
    ['direction', info.direction, 'quoted'],
    ['error', failure.reason, 'quoted'],
    ['response_flags', failure.flag === '-' ? undefined : failure.flag, 'quoted'],
  ];
  return formatLogLine({ level: 'warn', message: 'connection failed' }, fields, options);
}

/** AUDIT and dry-run policies that matched: they decide nothing and are said. */
export function formatAudit(
  info: ConnectionInfo,
  audits: Decision['audits'],
  options: { readonly endedAt: number; readonly format: AccessLogFormat },
): string {
  const hits = audits.map(({ policy, rule, wouldDeny }) => {
    const at = rule === '' ? policy : `${policy} rule ${rule}`;
    return wouldDeny === undefined ? at : `${at} (${wouldDeny ? 'would deny' : 'would allow'})`;
  });
  const fields: LogField[] = [
    ...sourceFields(info),
    ...destinationFields(info),
    ['policies', hits.join(', '), 'quoted'],
  ];
  return formatLogLine({ level: 'info', message: 'policy audit' }, fields, options);
}

/** What a denial reads like, the same on both sides: `connection denied by policy shop/only-web rule 0`. */
export function denialReason({ reason, policy, rule }: Decision): string {
  if (reason !== 'denied-by') {
    const considered = policy === undefined ? '' : ` (asked ${policy})`;
    return `connection denied: no allow policy matched${considered}`;
  }
  return rule === undefined || rule === ''
    ? `connection denied by policy ${policy}`
    : `connection denied by policy ${policy} rule ${rule}`;
}

function sourceFields(info: ConnectionInfo, showIdentity = info.mutualTls): LogField[] {
  const { sourceWorkload: workload, sourceLabels: labels } = info;
  return [
    ['src.addr', formatHostPort(info.sourceAddress, info.sourcePort), 'bare'],
    ['src.workload', workload?.name ?? labels?.workload, 'quoted'],
    ['src.namespace', workload?.namespace ?? labels?.namespace, 'quoted'],
    ['src.identity', showIdentity ? info.sourceIdentity : undefined, 'quoted'],
    ['src.cluster', workload?.clusterId ?? labels?.cluster, 'quoted'],
  ];
}

function destinationFields(info: ConnectionInfo): LogField[] {
  const { destinationWorkload: workload } = info;
  return [
    ['dst.addr', formatHostPort(info.destinationAddress, info.destinationPort), 'bare'],
    ['dst.hbone_addr', info.hboneAuthority, isPlain(info.hboneAuthority) ? 'bare' : 'quoted'],
    ['dst.service', info.destinationService?.hostname ?? info.destinationServiceName, 'quoted'],
    ['dst.workload', workload?.name, 'quoted'],
    ['dst.namespace', workload?.namespace, 'quoted'],
    ['dst.identity', info.mutualTls ? info.destinationIdentity : undefined, 'quoted'],
    ['dst.cluster', workload?.clusterId, 'quoted'],
  ];
}

/** An authority comes from the peer: only what looks like one stands without quotes. */
function isPlain(text: string | undefined): boolean {
  return text === undefined || /^[\w.:[\]-]+$/.test(text);
}
