/* Steering of one pod: attached to its network namespace, gives every new TCP connection from elsewhere, and the captured
 * ones of the pod itself, to the proxy's sockets inside the pod. Loaded once a pod, with maps of its own, so that pods with equal addresses in two meshes
 * on one machine can not touch each other. Fails closed: no live socket means drop, never pass. */
#include "layout.h"

/* A closed socket leaves the map by itself. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, LISTENER_KINDS * LISTENER_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct inbound_config);
} config SEC(".maps");

/* Shared with redirect.bpf.c, which writes it: see same_node.h. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow);
	__type(value, struct admission);
} admitted SEC(".maps");

static __always_inline int is_own(const struct inbound_config *pod, const struct address *address)
{
#pragma unroll
	for (int i = 0; i < OWN_ADDRESSES; i++)
		if (equal_address(address, &pod->own[i]))
			return 1;
	return 0;
}

/* Traffic the pod sends to itself: the proxy's last hop, and captured connections on their way to the proxy. A packet
 * from the wire that claims such a source gets its answer delivered inside the pod, so it never completes a handshake. */
static __always_inline int from_pod_itself(const struct inbound_config *pod, const struct address *remote,
					   const struct address *local)
{
	return is_loopback(remote) || is_loopback(local) || equal_address(remote, local) || is_own(pod, remote);
}

/* One peer, one start: with SYN cookies the last packet of a handshake is looked up again, and has to come to the same. */
static __always_inline __u32 spread(const struct address *remote, __u16 port)
{
	__u32 hash = remote->word[0] ^ remote->word[1] ^ remote->word[2] ^ remote->word[3] ^ (port * 0x9e3779b1u);

	hash = (hash ^ (hash >> 16)) * 0x85ebca6bu;
	return hash ^ (hash >> 13);
}

/* One of the listeners of a kind, from the one that `hash` falls on: a socket that does not take the packet's family or
 * protocol is refused by bpf_sk_assign and the next is tried. The choice is made here and not within the SO_REUSEPORT
 * group, to which the listeners of an older process belong as well: whose program runs gets every new connection. */
static __always_inline int steer(struct bpf_sk_lookup *ctx, const struct inbound_config *pod, __u32 kind, __u32 hash)
{
	__u32 count = pod->listeners[kind & (LISTENER_KINDS - 1)];

	if (!count)
		return SK_DROP;
	__u32 at = hash % count;
	for (__u32 i = 0; i < LISTENER_SLOTS; i++) {
		if (i >= count)
			break;
		__u32 slot = kind * LISTENER_SLOTS + at;
		at = at + 1 == count ? 0 : at + 1;
		struct bpf_sock *listener = bpf_map_lookup_elem(&listeners, &slot);
		if (!listener)
			continue;
		long error = bpf_sk_assign(ctx, listener, BPF_SK_LOOKUP_F_NO_REUSEPORT);
		bpf_sk_release(listener);
		if (!error)
			return SK_PASS;
	}
	return SK_DROP;
}

/* Without a live proxy nobody would hear of a policy change: nothing new is let through then. */
static __always_inline int has_proxy(void)
{
#pragma unroll
	for (__u32 i = 0; i < LISTENER_SLOTS; i++) {
		__u32 slot = HBONE_LISTENER * LISTENER_SLOTS + i;
		struct bpf_sock *listener = bpf_map_lookup_elem(&listeners, &slot);
		if (!listener)
			continue;
		bpf_sk_release(listener);
		return 1;
	}
	return 0;
}

/* What the pod's own sockets want of the proxy: captured connections, and DNS. The rest is the pod's business. */
static __always_inline int wanted_by_pod(const struct bpf_sk_lookup *ctx, const struct inbound_config *pod)
{
	if (ctx->protocol == IPPROTO_TCP && ctx->local_port == pod->outbound_port)
		return OUTBOUND_LISTENER;
	if (pod->listeners[DNS_LISTENER] && ctx->local_port == pod->dns_port)
		return DNS_LISTENER;
	return -1;
}

static __always_inline int is_admitted(const struct admission *admission)
{
	__u32 passes = admission->passes;

	return passes == ADMIT_ALWAYS || (passes == ADMIT_WITH_PROXY && has_proxy());
}

SEC("sk_lookup")
int weft_inbound(struct bpf_sk_lookup *ctx)
{
	struct address remote, local;
	__u32 zero = 0;
	struct inbound_config *pod = bpf_map_lookup_elem(&config, &zero);

	if (!pod)
		return SK_DROP;
	if (ctx->family == AF_INET) {
		set_ipv4(&remote, FIELD(ctx->remote_ip4));
		set_ipv4(&local, FIELD(ctx->local_ip4));
	} else {
		READ_IPV6(&remote, ctx->remote_ip6);
		READ_IPV6(&local, ctx->local_ip6);
	}
	__u32 hash = spread(&remote, bpf_ntohs(ctx->remote_port));
	if (from_pod_itself(pod, &remote, &local)) {
		int kind = is_own(pod, &local) ? wanted_by_pod(ctx, pod) : -1;
		return kind < 0 ? SK_PASS : steer(ctx, pod, kind, hash);
	}
	if (ctx->protocol == IPPROTO_UDP) /* the pod's DNS listener serves this pod only */
		return pod->dns_port && ctx->local_port == pod->dns_port ? SK_DROP : SK_PASS;
	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	if (pod->netns) {
		struct flow flow = {};
		flow.netns = pod->netns;
		flow.source = remote;
		flow.destination = local;
		flow.source_port = bpf_ntohs(ctx->remote_port);
		flow.destination_port = ctx->local_port;
		struct admission *admission = bpf_map_lookup_elem(&admitted, &flow);
		if (admission)
			return is_admitted(admission) ? SK_PASS : SK_DROP;
	}
	return steer(ctx, pod, ctx->local_port == pod->hbone_port ? HBONE_LISTENER : PLAINTEXT_LISTENER, hash);
}

char _license[] SEC("license") = "GPL";
