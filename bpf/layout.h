/* What the kernel programs and user space agree on. map-layout.ts mirrors every struct here byte by byte;
 * a change that an older program could misread must raise layoutVersion there (it is part of the pin path).
 * Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d; ports are in host order. */
#ifndef WEFT_LAYOUT_H
#define WEFT_LAYOUT_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

struct address {
	__u32 word[4];
};

/* What a socket is to the redirect. Kept in socket storage: it lives and dies with the socket. */
enum socket_kind {
	SOCKET_EXEMPT = 1,      /* a socket of the proxy: never redirected */
	SOCKET_LAST_HOP = 2,    /* exempt, and `peer` is the client the application shall see */
	SOCKET_CAPTURED = 3,    /* redirected; `peer` is the destination the application asked for */
	SOCKET_ACCEPTED = 4,    /* the proxy's end of a captured one; `peer` is that destination */
	SOCKET_DISGUISED = 5,   /* the application's end of a last hop; `peer` is the real client */
	SOCKET_DNS_ASKED = 6,   /* unconnected UDP; `peer` is the resolver asked last */
	SOCKET_DIRECT = 7,      /* let through to a pod of this node; `peer` is the destination the application asked for */
	SOCKET_PROBE = 8,       /* the kubelet's, to a captured pod of this node */
};

struct socket_state {
	struct address peer;
	__u16 port;
	__u8 kind;
	__u8 reserved;
};

#define POD_HAS_IPV4 1
#define POD_HAS_IPV6 2
#define POD_CAPTURES_DNS 4

/* An enrolled pod, keyed by the cookie of its network namespace. */
struct pod {
	struct address ipv4; /* mapped; where the outbound listener is reached over IPv4 */
	struct address ipv6;
	__u32 flags;
	__u16 outbound_port;
	__u16 dns_port;
	__u32 uid_length;
	__u8 uid[468]; /* for user space: which pod this is, after a restart */
};

/* A TCP connection inside one pod, as seen from its connecting end. */
struct flow {
	__u64 netns;
	struct address source;
	struct address destination;
	__u16 source_port;
	__u16 destination_port;
	__u32 reserved;
};

/* What a pod may reach without the proxy: a destination as the application names it. */
struct shortcut_key {
	__u64 netns; /* of the pod that connects */
	struct address destination;
	__u16 port;
	__u16 reserved[3];
};

struct endpoint {
	__u64 netns; /* a pod of this node; no other pod that gets its address can be meant */
	struct address address;
	__u16 port;
	__u16 reserved[3];
};

#define SHORTCUT_ENDPOINTS 8

/* Any of the endpoints will do. Holds only while its generation is the one in `control`. */
struct shortcut {
	__u64 generation;
	__u32 count;
	__u32 reserved;
	struct endpoint endpoints[SHORTCUT_ENDPOINTS];
};

/* Written by user space only. */
struct control {
	__u64 generation; /* 0: nothing is let through */
};

/* Written by the kernel programs only. */
struct counters {
	__u64 live;    /* entries of `live` */
	__u64 lost;    /* events that found no room in the ring */
	__u64 refused; /* connections that were let through a moment too late, or not from the pod's own address */
	__u64 full;    /* connections left to the proxy because `live` has no room */
};

/* A connection that was let through, while its socket lives; keyed by the cookie of the connecting socket. */
struct live_flow {
	__u64 source_netns;
	__u64 destination_netns;
	struct address source;
	struct address destination;
	struct address asked; /* what the application named: the destination itself, or a Service's address */
	__u16 source_port;
	__u16 destination_port;
	__u16 asked_port;
	__u16 reserved;
	__u64 generation;
};

enum flow_event_kind {
	FLOW_OPENED = 1,
	FLOW_CLOSED = 2,
	FLOW_FAILED = 3, /* never was established */
};

struct flow_event {
	__u64 cookie;
	__u32 kind;
	__u32 rtt_us;      /* smoothed; 0 before it is measured */
	__u64 received;    /* payload from the client to the server */
	__u64 sent;        /* and back */
	__u64 duration_ns; /* since connect() */
	struct live_flow flow;
};

/* What a pod's inbound steering does with a flow that was recorded at its source. An older program takes the last for
 * the one before it, which is less. */
#define ADMIT_NEVER 0
#define ADMIT_WITH_PROXY 1 /* as long as a proxy lives in the pod */
#define ADMIT_ALWAYS 2

struct admission {
	__u32 passes;
};

/* Whose connections to captured pods are probes: both must be right. */
struct prober {
	__u64 cgroup; /* of the process that connects: the inode of its directory in the cgroup2 tree */
	__u64 netns;  /* of its socket: the node's own */
};

/* What the kubelet may reach: where a captured pod is probed. */
struct probe_target {
	struct address address;
	__u16 port;
	__u16 reserved[3];
};

/* Written by the kernel programs only. */
struct probe_counters {
	__u64 admitted; /* connections */
};

/* What the proxy listens for in a pod. */
enum listener_kind {
	HBONE_LISTENER = 0,
	PLAINTEXT_LISTENER = 1,
	OUTBOUND_LISTENER = 2, /* captured connections of the pod itself */
	DNS_LISTENER = 3,      /* UDP and TCP */
};

#define LISTENER_KINDS 4

/* Slots in the map of listeners: each kind has this many, the first of them are used. */
#define LISTENER_SLOTS 16

#define OWN_ADDRESSES 8

/* One pod's steering. */
struct inbound_config {
	struct address own[OWN_ADDRESSES]; /* unused entries are zero */
	__u16 hbone_port;
	__u16 dns_port; /* 0: none */
	__u16 outbound_port;
	__u16 reserved;
	__u64 netns; /* the pod's own cookie; 0: nothing is let through to it */
	__u8 listeners[LISTENER_KINDS]; /* how many there are of each kind, at most LISTENER_SLOTS */
	__u32 reserved2;
};

#define MAPPED_PREFIX bpf_htonl(0xffff)

/* The verifier takes no computed offset into a context: every field is read where it is named, and the compiler must
 * not merge two such reads. */
#define FIELD(field)                                          \
	({                                                    \
		__u32 value_ = *(volatile __u32 *)&(field);   \
		asm volatile("" : "+r"(value_));              \
		value_;                                       \
	})

/* `field` is an array of four words in a context. */
#define READ_IPV6(to, field)                      \
	do {                                      \
		(to)->word[0] = FIELD((field)[0]); \
		(to)->word[1] = FIELD((field)[1]); \
		(to)->word[2] = FIELD((field)[2]); \
		(to)->word[3] = FIELD((field)[3]); \
	} while (0)

static __always_inline void set_ipv4(struct address *to, __u32 ip)
{
	to->word[0] = 0;
	to->word[1] = 0;
	to->word[2] = MAPPED_PREFIX;
	to->word[3] = ip;
}

static __always_inline int is_ipv4(const struct address *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == MAPPED_PREFIX;
}

static __always_inline int equal_address(const struct address *a, const struct address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

/* 127/8, ::1, and the unspecified addresses, which a connect takes for loopback. */
static __always_inline int is_loopback(const struct address *a)
{
	if (is_ipv4(a))
		return (bpf_ntohl(a->word[3]) >> 24) == 127 || a->word[3] == 0;
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 &&
	       (a->word[3] == 0 || a->word[3] == bpf_htonl(1));
}

#endif
