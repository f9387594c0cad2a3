/* The same-node fast path, part of redirect.bpf.c: a connection between two pods of this node that user space has already
 * authorised goes straight to the destination pod. connect finds the shortcut; just before the SYN leaves, the flow is
 * recorded in `live` (for revocation and counting) and in `admitted` (for the destination pod's sk_lookup, which passes
 * recorded flows and nothing else). Only sockets that these hooks marked are recorded, under the cookie of the
 * namespace they were made in: a pod can not write any of it.
 * Order against revocation: user space changes the generation, then looks at `live`; here `live` is written, then the
 * generation is looked at. Whoever comes second sees the other. */
#ifndef WEFT_SAME_NODE_H
#define WEFT_SAME_NODE_H

#include "layout.h"

#define LIVE_FLOWS 65536
/* Connects that are between the check for room and their entry. */
#define LIVE_FLOWS_SLACK 256

/* LRU: a verdict that is lost only means that the proxy decides. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct shortcut_key);
	__type(value, struct shortcut);
} shortcuts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

/* Never LRU: what is not in it can not be revoked. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LIVE_FLOWS);
	__type(key, __u64);
	__type(value, struct live_flow);
} live SEC(".maps");

/* During a handshake only. An entry that is lost makes a connection one in plaintext without identity, which the
 * destination's proxy decides about: never more than the policies allow. `netns` of the key is the destination's. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow);
	__type(value, struct admission);
} admitted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} flow_events SEC(".maps");

enum direct_phase {
	DIRECT_CHOSEN = 0,
	DIRECT_CONNECTING = 1,
	DIRECT_OPEN = 2,
	DIRECT_PROBE = 3, /* of the kubelet: see kubelet.h */
};

struct direct_state {
	__u64 netns; /* of the destination */
	__u64 generation;
	__u64 started_ns;
	__u64 received_at_half_close;
	__u32 phase;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct direct_state);
} direct SEC(".maps");

/* The pod's address in the family of `destination`; none if the pod has none. */
static __always_inline const struct address *own_address(const struct pod *pod, const struct address *destination)
{
	if (is_ipv4(destination))
		return pod->flags & POD_HAS_IPV4 ? &pod->ipv4 : 0;
	return pod->flags & POD_HAS_IPV6 ? &pod->ipv6 : 0;
}

static __always_inline void get_ends(struct bpf_sock_ops *ctx, struct address *local, struct address *remote)
{
	if (ctx->family == AF_INET) {
		set_ipv4(local, FIELD(ctx->local_ip4));
		set_ipv4(remote, FIELD(ctx->remote_ip4));
		return;
	}
	/* An IPv6 socket that speaks IPv4 holds mapped addresses here: the key is the same from both ends. */
	READ_IPV6(local, ctx->local_ip6);
	READ_IPV6(remote, ctx->remote_ip6);
}

static __always_inline __u64 current_generation(void)
{
	__u32 zero = 0;
	struct control *found = bpf_map_lookup_elem(&control, &zero);

	return found ? *(volatile __u64 *)&found->generation : 0;
}

static __always_inline struct counters *get_counters(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&counters, &zero);
}

/* A connect that began this long before the verdicts changed counts as one of before: it is open and in `live`, where user
 * space looks for what has to be reset. */
#define CONNECT_NS (20 * 1000 * 1000)

struct inet4_name {
	__u16 family;
	__u16 port;
	__u32 address;
	__u8 zero[8];
};

struct inet6_name {
	__u16 family;
	__u16 port;
	__u32 flow;
	struct address address;
	__u32 scope;
};

/* The verdict is about the pod's own address, which the proxy would connect from as well: what is not bound is bound to
 * it, or a route might take another one. What is bound to another one is the proxy's to judge. */
static __always_inline int bind_to(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct address *own)
{
	struct address bound;

	if (ctx->user_family == AF_INET) {
		struct inet4_name name = { .family = AF_INET, .address = own->word[3] };
		__u32 ip = sk->src_ip4;
		if (ip != 0)
			return ip == own->word[3];
		return bpf_bind(ctx, (struct sockaddr *)&name, sizeof name) == 0;
	}
	READ_IPV6(&bound, sk->src_ip6);
	if (bound.word[0] == 0 && bound.word[1] == 0 && bound.word[3] == 0) { /* unspecified, mapped or not */
		struct inet6_name name = { .family = AF_INET6, .address = *own };
		return bpf_bind(ctx, (struct sockaddr *)&name, sizeof name) == 0;
	}
	return equal_address(&bound, own);
}

/* Where a connect may go without the proxy; none if the proxy is to decide. */
static __always_inline const struct endpoint *find_shortcut(struct bpf_sock_addr *ctx, const struct address *own,
							    const struct address *destination)
{
	struct shortcut_key key = {};
	struct bpf_sock *sk = ctx->sk;
	__u64 generation = current_generation();

	if (!sk || !generation)
		return 0;
	key.netns = bpf_get_netns_cookie(ctx);
	key.destination = *destination;
	key.port = bpf_ntohs(ctx->user_port);
	struct shortcut *found = bpf_map_lookup_elem(&shortcuts, &key);
	if (!found || found->generation != generation)
		return 0;
	__u32 count = found->count;
	if (count == 0 || count > SHORTCUT_ENDPOINTS)
		return 0;
	__u64 index = ((__u64)bpf_get_prandom_u32() * count) >> 32;
	asm volatile("" : "+r"(index)); /* or the compiler drops the bound, which the verifier can not see for itself */
	if (index >= SHORTCUT_ENDPOINTS)
		return 0;
	const struct endpoint *endpoint = &found->endpoints[index];
	__u64 netns = endpoint->netns;
	/* The family of a rewritten destination can not change; a pod that has left is the proxy's again. */
	if (is_ipv4(&endpoint->address) != is_ipv4(destination) || !bpf_map_lookup_elem(&pods, &netns))
		return 0;
	struct counters *counts = get_counters();
	if (!counts)
		return 0;
	if (counts->live >= LIVE_FLOWS - LIVE_FLOWS_SLACK) {
		__sync_fetch_and_add(&counts->full, 1);
		return 0;
	}
	if (!bind_to(ctx, sk, own))
		return 0;
	struct direct_state *state = bpf_sk_storage_get(&direct, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state)
		return 0;
	state->netns = netns;
	state->generation = generation;
	state->started_ns = bpf_ktime_get_ns();
	state->received_at_half_close = 0;
	state->phase = DIRECT_CHOSEN;
	return endpoint;
}

/* The flow of a connecting socket, as the destination pod sees it. */
static __always_inline void describe(struct bpf_sock_ops *ctx, __u64 destination_netns, struct flow *flow)
{
	flow->netns = destination_netns;
	get_ends(ctx, &flow->source, &flow->destination);
	flow->source_port = ctx->local_port;
	flow->destination_port = bpf_ntohl(ctx->remote_port);
}

/* Before the SYN leaves. A connect may have been let through some time ago (TCP_FASTOPEN_CONNECT): what is not as it was
 * authorised any more is refused, not left to pass for plaintext. */
static __always_inline void admit(struct bpf_sock_ops *ctx, struct bpf_sock *sk, const struct socket_state *asked)
{
	struct direct_state *state = bpf_sk_storage_get(&direct, sk, 0, 0);
	struct counters *counts = get_counters();
	__u64 cookie = bpf_get_socket_cookie(ctx);
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct pod *pod = bpf_map_lookup_elem(&pods, &netns);
	struct live_flow entry = {};
	struct admission admission = {};
	struct flow flow = {};

	if (!state || !counts)
		return;
	describe(ctx, state->netns, &flow);
	entry.source_netns = netns;
	entry.destination_netns = state->netns;
	entry.source = flow.source;
	entry.destination = flow.destination;
	entry.asked = asked->peer;
	entry.source_port = flow.source_port;
	entry.destination_port = flow.destination_port;
	entry.asked_port = asked->port;
	entry.generation = state->generation;
	if (pod) {
		const struct address *own = own_address(pod, &flow.destination);
		admission.passes = own && equal_address(own, &flow.source) ? ADMIT_WITH_PROXY : ADMIT_NEVER;
	}
	if (admission.passes && bpf_map_update_elem(&live, &cookie, &entry, BPF_NOEXIST) == 0) {
		__sync_fetch_and_add(&counts->live, 1);
		state->phase = DIRECT_CONNECTING;
		if (bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG))
			admission.passes = ADMIT_NEVER;
	} else
		admission.passes = ADMIT_NEVER;
	if (current_generation() != state->generation && bpf_ktime_get_ns() - state->started_ns > CONNECT_NS)
		admission.passes = ADMIT_NEVER;
	if (!admission.passes)
		__sync_fetch_and_add(&counts->refused, 1);
	bpf_map_update_elem(&admitted, &flow, &admission, BPF_ANY);
}

static __always_inline struct flow_event *begin_event(__u64 cookie, __u32 kind, const struct live_flow *flow)
{
	struct flow_event *event = bpf_ringbuf_reserve(&flow_events, sizeof *event, 0);

	if (!event) {
		struct counters *counts = get_counters();
		if (counts)
			__sync_fetch_and_add(&counts->lost, 1);
		return 0;
	}
	event->cookie = cookie;
	event->kind = kind;
	event->flow = *flow;
	return event;
}

static __always_inline void report_opened(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct direct_state *state = bpf_sk_storage_get(&direct, sk, 0, 0);
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct live_flow *flow = bpf_map_lookup_elem(&live, &cookie);

	if (!state || !flow || state->phase != DIRECT_CONNECTING)
		return;
	state->phase = DIRECT_OPEN;
	struct flow_event *event = begin_event(cookie, FLOW_OPENED, flow);
	if (!event)
		return;
	event->rtt_us = ctx->srtt_us >> 3;
	event->received = 0;
	event->sent = 0;
	event->duration_ns = bpf_ktime_get_ns() - state->started_ns;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

/* The kernel counts SYN and FIN as a byte each. What the client sent: */
static __always_inline __u64 payload_received(struct bpf_sock_ops *ctx, __u32 last)
{
	__u64 acked = ctx->bytes_acked;
	int fin = last == BPF_TCP_FIN_WAIT2 ||
		  ((last == BPF_TCP_LAST_ACK || last == BPF_TCP_CLOSING) && ctx->snd_una == ctx->snd_nxt);
	__u64 overhead = fin ? 2 : 1;

	return acked > overhead ? acked - overhead : 0;
}

/* And the server. Whether its FIN came after a half-close shows in what came since. */
static __always_inline __u64 payload_sent(struct bpf_sock_ops *ctx, __u32 last, __u64 at_half_close)
{
	__u64 received = ctx->bytes_received;
	int fin = last == BPF_TCP_CLOSE_WAIT || last == BPF_TCP_LAST_ACK || last == BPF_TCP_CLOSING ||
		  (last == BPF_TCP_FIN_WAIT2 && received > at_half_close);

	return fin && received ? received - 1 : received;
}

/* What was recorded for the destination ends with the connecting socket, if not before. */
static __always_inline void withdraw(struct bpf_sock_ops *ctx, struct direct_state *state)
{
	struct flow flow = {};

	state->phase = DIRECT_CHOSEN;
	describe(ctx, state->netns, &flow);
	bpf_map_delete_elem(&admitted, &flow);
}

static __always_inline void end(struct bpf_sock_ops *ctx, struct direct_state *state, __u32 last)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct live_flow *found = bpf_map_lookup_elem(&live, &cookie);
	struct counters *counts = get_counters();
	int opened = state->phase == DIRECT_OPEN;

	withdraw(ctx, state);
	if (!found)
		return;
	struct flow_event *event = begin_event(cookie, opened ? FLOW_CLOSED : FLOW_FAILED, found);
	if (event) {
		event->rtt_us = ctx->srtt_us >> 3;
		event->received = opened ? payload_received(ctx, last) : 0;
		event->sent = opened ? payload_sent(ctx, last, state->received_at_half_close) : 0;
		event->duration_ns = bpf_ktime_get_ns() - state->started_ns;
		bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	}
	if (bpf_map_delete_elem(&live, &cookie) == 0 && counts)
		__sync_fetch_and_add(&counts->live, -1);
}

static __always_inline void follow(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct direct_state *state = bpf_sk_storage_get(&direct, sk, 0, 0);
	__u32 last = ctx->args[0];
	__u32 next = ctx->args[1];

	if (!state || state->phase == DIRECT_CHOSEN)
		return;
	if (state->phase == DIRECT_PROBE) {
		if (next == BPF_TCP_CLOSE)
			withdraw(ctx, state);
		return;
	}
	if (next == BPF_TCP_FIN_WAIT2)
		state->received_at_half_close = ctx->bytes_received;
	else if (next == BPF_TCP_CLOSE)
		end(ctx, state, last);
}

#endif
