/* Probes of the kubelet, part of redirect.bpf.c: its connections to captured pods of this node, at the ports where those
 * are probed, go straight to the application, past policies and waypoint, also while no proxy lives. The kubelet is known by its control group and by the
 * node's network namespace, which its socket must be in; never by an address. Recorded is one flow at a time, in
 * `admitted` (same_node.h), for the pod that has the address now: a pod can not write any of it, and whoever copies the
 * addresses of the flow gets no answer. */
#ifndef WEFT_KUBELET_H
#define WEFT_KUBELET_H

#include "same_node.h"

/* Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct prober);
	__type(value, __u32);
} kubelets SEC(".maps");

/* Where captured pods are probed: cookie of the namespace that has the address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct probe_target);
	__type(value, __u64);
} probe_targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct probe_counters);
} probes SEC(".maps");

/* For a socket outside every captured namespace. */
static __always_inline int is_probe(struct bpf_sock_addr *ctx, const struct address *destination)
{
	struct probe_target target = {};
	struct prober who = {};

	if (ctx->type != SOCK_STREAM || ctx->protocol != IPPROTO_TCP)
		return 0;
	who.cgroup = bpf_get_current_cgroup_id();
	who.netns = bpf_get_netns_cookie(ctx);
	target.address = *destination;
	target.port = bpf_ntohs(ctx->user_port);
	return bpf_map_lookup_elem(&kubelets, &who) && bpf_map_lookup_elem(&probe_targets, &target);
}

/* Before the SYN leaves. Without the means to see its end nothing is recorded. */
static __always_inline void admit_probe(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct admission admission = { .passes = ADMIT_ALWAYS };
	struct probe_target target = {};
	struct flow flow = {};
	__u32 zero = 0;

	describe(ctx, 0, &flow);
	target.address = flow.destination;
	target.port = flow.destination_port;
	__u64 *netns = bpf_map_lookup_elem(&probe_targets, &target);
	if (!netns)
		return;
	flow.netns = *netns;
	struct direct_state *state = bpf_sk_storage_get(&direct, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state || bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG))
		return;
	state->netns = flow.netns;
	state->phase = DIRECT_PROBE;
	if (bpf_map_update_elem(&admitted, &flow, &admission, BPF_ANY))
		return;
	struct probe_counters *counts = bpf_map_lookup_elem(&probes, &zero);
	if (counts)
		__sync_fetch_and_add(&counts->admitted, 1);
}

#endif
