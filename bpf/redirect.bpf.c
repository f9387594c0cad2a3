/* Outbound capture and address disguise, attached once at the root of the cgroup2 tree. Acts only on sockets whose
 * network namespace is in `pods`, so several instances can be attached side by side.
 *
 * connect: the destination becomes the pod's own address and the proxy's port; the original stays with the socket.
 * handshake (client end, before its SYN and again before its last ACK leaves): the original goes to `flows`;
 * established (server end, before accept() returns): it moves from there to the accepted socket.
 * The same way carries the real client's address from the proxy's last hop to the application's accepted socket.
 * What user space has put into `shortcuts` needs no proxy: see same_node.h. Nor do probes of the kubelet: see kubelet.h. */
#include "layout.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct pod);
} pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_state);
} sockets SEC(".maps");

/* Holds an entry only while a handshake is under way: microseconds, seconds at worst when the accept queue is full. LRU,
 * because a handshake that fails leaves its entry behind. A pod that fills the map with such entries hurts nobody: the
 * client end writes its entry a last time just before the server end reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow);
	__type(value, struct socket_state);
} flows SEC(".maps");

#include "same_node.h"
#include "kubelet.h"

#define DENY 0
#define ALLOW 1
#define DNS_PORT 53

static __always_inline struct pod *pod_of(struct bpf_sock_addr *ctx)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	return bpf_map_lookup_elem(&pods, &netns);
}

static __always_inline struct socket_state *state_of(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	return sk ? bpf_sk_storage_get(&sockets, sk, 0, 0) : 0;
}

static __always_inline void get_ipv6(struct bpf_sock_addr *ctx, struct address *to)
{
	READ_IPV6(to, ctx->user_ip6);
}

static __always_inline void set_ipv6(struct bpf_sock_addr *ctx, const struct address *from)
{
	ctx->user_ip6[0] = from->word[0];
	ctx->user_ip6[1] = from->word[1];
	ctx->user_ip6[2] = from->word[2];
	ctx->user_ip6[3] = from->word[3];
}

static __always_inline __u16 get_port(struct bpf_sock_addr *ctx)
{
	return bpf_ntohs(ctx->user_port);
}

/* Where a connection to `destination` goes instead. Returns the port, 0 to leave it alone. */
static __always_inline __u16 redirect_port(struct bpf_sock_addr *ctx, const struct pod *pod,
					   const struct address *destination)
{
	if (is_loopback(destination))
		return 0;
	if (ctx->type == SOCK_STREAM)
		return ctx->protocol == IPPROTO_TCP ? pod->outbound_port : 0;
	if (ctx->type == SOCK_DGRAM && ctx->protocol == IPPROTO_UDP && get_port(ctx) == DNS_PORT &&
	    (pod->flags & POD_CAPTURES_DNS))
		return pod->dns_port;
	return 0;
}

/* Remembers what the application asked for. Without memory for it the call must fail, not go astray. */
static __always_inline int remember(struct bpf_sock_addr *ctx, const struct address *peer, __u8 kind)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket_state *state;

	if (!sk)
		return 0;
	state = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state)
		return 0;
	state->peer = *peer;
	state->port = get_port(ctx);
	state->kind = kind;
	return 1;
}

/* Decides about one connect or unconnected send to `destination`. On ALLOW with `*to` set the caller rewrites. */
static __always_inline int decide(struct bpf_sock_addr *ctx, const struct address *destination, __u8 kind,
				  const struct address **to, __u16 *port)
{
	struct socket_state *state = state_of(ctx);
	struct pod *pod;

	*to = 0;
	if (state && (state->kind == SOCKET_EXEMPT || state->kind == SOCKET_LAST_HOP))
		return ALLOW;
	pod = pod_of(ctx);
	*port = pod ? redirect_port(ctx, pod, destination) : 0;
	if (!*port) {
		/* A socket used again for another destination: its old disguise must not stay. */
		if (state && kind == SOCKET_CAPTURED && ctx->sk)
			bpf_sk_storage_delete(&sockets, ctx->sk);
		if (!pod && kind == SOCKET_CAPTURED && is_probe(ctx, destination))
			remember(ctx, destination, SOCKET_PROBE);
		return ALLOW;
	}
	const struct address *own = own_address(pod, destination);
	if (!own)
		return DENY;
	if (kind == SOCKET_CAPTURED && ctx->type == SOCK_STREAM) {
		const struct endpoint *endpoint = find_shortcut(ctx, own, destination);
		if (endpoint && remember(ctx, destination, SOCKET_DIRECT)) {
			*to = &endpoint->address;
			*port = endpoint->port;
			return ALLOW;
		}
	}
	/* sendto() on a connected socket: getpeername() keeps showing what it was connected to. */
	if (!(state && kind == SOCKET_DNS_ASKED && state->kind == SOCKET_CAPTURED) &&
	    !remember(ctx, destination, kind))
		return DENY;
	*to = own;
	return ALLOW;
}

static __always_inline int redirect4(struct bpf_sock_addr *ctx, __u8 kind)
{
	const struct address *to;
	struct address destination;
	__u16 port;

	set_ipv4(&destination, FIELD(ctx->user_ip4));
	int verdict = decide(ctx, &destination, kind, &to, &port);
	if (verdict == ALLOW && to) {
		ctx->user_ip4 = to->word[3];
		ctx->user_port = bpf_htons(port);
	}
	return verdict;
}

static __always_inline int redirect6(struct bpf_sock_addr *ctx, __u8 kind)
{
	const struct address *to;
	struct address destination;
	__u16 port;

	get_ipv6(ctx, &destination);
	int verdict = decide(ctx, &destination, kind, &to, &port);
	if (verdict == ALLOW && to) {
		set_ipv6(ctx, to);
		ctx->user_port = bpf_htons(port);
	}
	return verdict;
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr *ctx)
{
	return redirect4(ctx, SOCKET_CAPTURED);
}

SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr *ctx)
{
	return redirect6(ctx, SOCKET_CAPTURED);
}

/* Sends to other ports are common and never concern us: they leave before any lookup. */
SEC("cgroup/sendmsg4")
int weft_sendmsg4(struct bpf_sock_addr *ctx)
{
	return get_port(ctx) == DNS_PORT ? redirect4(ctx, SOCKET_DNS_ASKED) : ALLOW;
}

SEC("cgroup/sendmsg6")
int weft_sendmsg6(struct bpf_sock_addr *ctx)
{
	return get_port(ctx) == DNS_PORT ? redirect6(ctx, SOCKET_DNS_ASKED) : ALLOW;
}

/* An answer of the pod's DNS listener: its source becomes the resolver that was asked. Anything else a socket that
 * once asked may receive keeps its true source, or any host could pose as the resolver. */
static __always_inline const struct socket_state *disguise_answer(struct bpf_sock_addr *ctx,
								  const struct address *source)
{
	struct socket_state *state = state_of(ctx);
	struct pod *pod;
	const struct address *own;

	if (!state || (state->kind != SOCKET_DNS_ASKED && state->kind != SOCKET_CAPTURED))
		return 0;
	pod = pod_of(ctx);
	if (!pod || get_port(ctx) != pod->dns_port)
		return 0;
	own = own_address(pod, source);
	return own && equal_address(own, source) ? state : 0;
}

SEC("cgroup/recvmsg4")
int weft_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct address source;

	set_ipv4(&source, FIELD(ctx->user_ip4));
	const struct socket_state *state = disguise_answer(ctx, &source);
	if (state && is_ipv4(&state->peer)) {
		ctx->user_ip4 = state->peer.word[3];
		ctx->user_port = bpf_htons(state->port);
	}
	return ALLOW;
}

SEC("cgroup/recvmsg6")
int weft_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct address source;

	get_ipv6(ctx, &source);
	const struct socket_state *state = disguise_answer(ctx, &source);
	if (state) {
		set_ipv6(ctx, &state->peer);
		ctx->user_port = bpf_htons(state->port);
	}
	return ALLOW;
}

/* Also what accept() returns. */
static __always_inline const struct socket_state *disguise_peer(struct bpf_sock_addr *ctx)
{
	const struct socket_state *state = state_of(ctx);

	return state && (state->kind == SOCKET_CAPTURED || state->kind == SOCKET_DISGUISED ||
			 state->kind == SOCKET_DIRECT)
		       ? state
		       : 0;
}

SEC("cgroup/getpeername4")
int weft_getpeername4(struct bpf_sock_addr *ctx)
{
	const struct socket_state *state = disguise_peer(ctx);

	/* An IPv6 client can not be told to an IPv4 socket: it sees the proxy. */
	if (state && is_ipv4(&state->peer)) {
		ctx->user_ip4 = state->peer.word[3];
		ctx->user_port = bpf_htons(state->port);
	}
	return ALLOW;
}

SEC("cgroup/getpeername6")
int weft_getpeername6(struct bpf_sock_addr *ctx)
{
	const struct socket_state *state = disguise_peer(ctx);

	if (state) {
		set_ipv6(ctx, &state->peer);
		ctx->user_port = bpf_htons(state->port);
	}
	return ALLOW;
}

static __always_inline void announce(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct socket_state *state = bpf_sk_storage_get(&sockets, sk, 0, 0);
	struct flow flow = {};
	struct socket_state passed = {};

	if (!state)
		return;
	if (state->kind == SOCKET_DIRECT) {
		if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
			admit(ctx, sk, state);
		else
			report_opened(ctx, sk);
		return;
	}
	if (state->kind == SOCKET_PROBE && ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		admit_probe(ctx, sk);
	if (state->kind != SOCKET_CAPTURED && state->kind != SOCKET_LAST_HOP)
		return;
	passed.peer = state->peer;
	passed.port = state->port;
	passed.kind = state->kind == SOCKET_CAPTURED ? SOCKET_ACCEPTED : SOCKET_DISGUISED;
	flow.netns = bpf_get_netns_cookie(ctx);
	get_ends(ctx, &flow.source, &flow.destination);
	flow.source_port = ctx->local_port;
	flow.destination_port = bpf_ntohl(ctx->remote_port);
	bpf_map_update_elem(&flows, &flow, &passed, BPF_ANY);
}

static __always_inline void receive(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct flow flow = {};
	struct socket_state *passed;

	flow.netns = bpf_get_netns_cookie(ctx);
	if (!bpf_map_lookup_elem(&pods, &flow.netns))
		return;
	get_ends(ctx, &flow.destination, &flow.source);
	flow.source_port = bpf_ntohl(ctx->remote_port);
	flow.destination_port = ctx->local_port;
	bpf_map_delete_elem(&admitted, &flow);
	passed = bpf_map_lookup_elem(&flows, &flow);
	if (!passed)
		return;
	bpf_sk_storage_get(&sockets, sk, passed, BPF_SK_STORAGE_GET_F_CREATE);
	bpf_map_delete_elem(&flows, &flow);
}

SEC("sockops")
int weft_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk;

	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB: /* with TCP Fast Open the server end is established by the SYN */
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB: /* a slow handshake's entry may have been evicted meanwhile */
		sk = ctx->sk;
		if (sk)
			announce(ctx, sk);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		sk = ctx->sk;
		if (sk)
			receive(ctx, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB: /* of a connection that was let through */
		sk = ctx->sk;
		if (sk)
			follow(ctx, sk);
		break;
	}
	return 1;
}

char _license[] SEC("license") = "GPL";
