// What policies say about a request, and how that is told. Where endpoints have policies of their own, each that is tried
// is asked, copies of the request included.

import type { Decision } from '../../mesh/authz/policy-set.ts';
import { explain, wantsExplanation } from '../explain-policy.ts';
import type { Exchange } from './exchange.ts';
import type { LocalReply } from './local-reply.ts';
import { denialText } from './request-world.ts';
import type { UpstreamEndpoint } from './upstream/upstream.ts';

/** In the answer, whoever gives it. */
export function explainTo(exchange: Exchange, decision: Decision): void {
  const { head, client, view } = exchange;
  if (view.explainPolicyTo === undefined) return;
  if (wantsExplanation(head, { peer: client.peer, allowed: view.explainPolicyTo }))
    exchange.explanation = explain(decision);
}

/** Each endpoint that is tried decides by its own policies. */
export function askEndpoints(exchange: Exchange): void {
  const { record } = exchange;
  exchange.admits = (endpoint) => {
    const decision = decideAt(exchange, endpoint);
    if (decision === undefined) return undefined;
    if (decision.audits.length > 0) record.audits = decision.audits;
    explainTo(exchange, decision);
    return decision.allowed ? undefined : denial(decision);
  };
}

export function decideAt({ world, view, facts }: Exchange, endpoint: UpstreamEndpoint): Decision | undefined {
  return facts === undefined ? undefined : world.authorizeAt(view, facts, endpoint);
}

export function denial(decision: Decision): LocalReply {
  return { status: 403, flag: 'UAEX', details: denialText(decision) };
}
