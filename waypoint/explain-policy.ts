// Tells a caller which policy decided about its request, in a response header. Names of policies are nobody's business
// by default: a Gateway says to whom they are told (annotation `weft.dev/explain-policy`), and only a client with a
// proven identity that asks for it is told. Pure.

import type { Decision } from '../mesh/authz/policy-set.ts';
import { type Header, headerValue } from '../mesh/h2/header.ts';
import type { RequestHead } from '../mesh/http/message.ts';
import type { Identity } from '../mesh/model/spiffe-id.ts';

/** `x-weft-explain: policy` asks. */
export const explainHeader = 'x-weft-explain';
/** Where an explanation is given, what an application says under this name is left out: it could only lie. */
export const explanationHeader = 'x-weft-policy';

/** `allowed`: WaypointConfig.explainPolicyTo. Whether the request asks, and its client may. */
export function wantsExplanation(
  head: RequestHead,
  { peer, allowed }: { readonly peer: Identity | undefined; readonly allowed: readonly string[] | undefined },
): boolean {
  if (allowed === undefined || peer === undefined) return false;
  if (headerValue(head.headers, explainHeader)?.toLowerCase() !== 'policy') return false;
  const { namespace, serviceAccount } = peer;
  return allowed.some(
    (entry) => entry === '*' || entry === `${namespace}/*` || entry === `${namespace}/${serviceAccount}`,
  );
}

/** `denied-by; policy="shop/no-admin"; rule="rules[0]"; audit="shop/watch"`: words and quoted texts (RFC 8941). */
export function explain({ reason, policy, rule, audits }: Decision): Header {
  const parts: string[] = [reason];
  if (policy !== undefined) parts.push(`policy=${quoted(policy)}`);
  if (rule !== undefined) parts.push(`rule=${quoted(rule)}`);
  // A few tell enough; a header has to stay small.
  for (const audit of audits.slice(0, 8)) parts.push(`audit=${quoted(audit.policy)}`);
  return [explanationHeader, parts.join('; ')];
}

/** A response's headers with the explanation, and without what an application wrote in its place. */
export function explained(headers: readonly Header[], explanation: Header): readonly Header[] {
  return [...headers.filter(([name]) => name !== explanationHeader), explanation];
}

/** Rule names are free text; only printable ASCII goes into a field. */
function quoted(text: string): string {
  return `"${text.replace(/[^ -~]/g, '?').replace(/["\\]/g, '\\$&')}"`;
}
