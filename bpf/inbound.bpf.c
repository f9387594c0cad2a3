/* Inbound capture of one pod: attached to its network namespace, steers every new TCP connection to the proxy's
 * sockets inside the pod. Loaded once a pod, with maps of its own, so that pods with equal addresses in two meshes
 * on one machine can not touch each other. Fails closed: no live socket means drop, never pass. */
#include "layout.h"

/* A closed socket leaves the map by itself. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2 * LISTENER_SLOTS);
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

/* Traffic the pod sends to itself: the proxy's last hop, and captured connections on their way to the proxy. A packet
 * from the wire that claims such a source gets its answer delivered inside the pod, so it never completes a handshake. */
static __always_inline int from_pod_itself(const struct inbound_config *pod, const struct address *remote,
					   const struct address *local)
{
	if (equal_address(remote, local))
		return 1;
#pragma unroll
	for (int i = 0; i < OWN_ADDRESSES; i++)
		if (equal_address(remote, &pod->own[i]))
			return 1;
	return 0;
}

/* Any live socket of the kind will do: the kernel then selects within its SO_REUSEPORT group. A socket that does not
 * take the packet's family is refused by bpf_sk_assign and the next is tried. */
static __always_inline int steer(struct bpf_sk_lookup *ctx, __u32 first)
{
#pragma unroll
	for (__u32 i = 0; i < LISTENER_SLOTS; i++) {
		__u32 slot = first + i;
		struct bpf_sock *listener = bpf_map_lookup_elem(&listeners, &slot);
		if (!listener)
			continue;
		long error = bpf_sk_assign(ctx, listener, 0);
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
	for (__u32 slot = 0; slot < 2 * LISTENER_SLOTS; slot++) {
		__u32 key = slot;
		struct bpf_sock *listener = bpf_map_lookup_elem(&listeners, &key);
		if (!listener)
			continue;
		bpf_sk_release(listener);
		return 1;
	}
	return 0;
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
	if (is_loopback(&remote) || is_loopback(&local) || from_pod_itself(pod, &remote, &local))
		return SK_PASS;
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
	return steer(ctx, ctx->local_port == pod->hbone_port ? 0 : LISTENER_SLOTS);
}

char _license[] SEC("license") = "GPL";
