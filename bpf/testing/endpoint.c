/* The application of the kernel tests: every way to connect, and a server that tells whom it sees.
 *   endpoint dial MODE ADDRESS PORT [SOURCE]    one connection; prints what it saw as JSON
 *   endpoint hold ADDRESS PORT [SOURCE PORT]    one connection; prints itself, then how it ended; sends what it reads
 *   endpoint burst ADDRESS PORT COUNT           as many connections, one after the other; prints how many stood
 *   endpoint raw SOURCE PORT ADDRESS PORT       a SYN past connect(), IPv4; prints the flags of the answer
 *   endpoint echo ADDRESS PORT                  prints "ready", sends back what it gets, till killed
 *   endpoint serve ADDRESS PORT                 prints "ready", answers each connection with what it sees, till killed
 *   endpoint dns-server ADDRESS PORT            prints "ready", answers each datagram with "answer", till killed */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WAIT_MS 5000
#define PROTOCOL_MPTCP 262

static socklen_t address_of(const char *text, int port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (void *)out;
	struct sockaddr_in6 *v6 = (void *)out;

	memset(out, 0, sizeof *out);
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof *v4;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) {
		fprintf(stderr, "not an address: %s\n", text);
		exit(2);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof *v6;
}

static const char *text_of(const struct sockaddr_storage *a, char *out, size_t size)
{
	char ip[INET6_ADDRSTRLEN];
	const struct sockaddr_in *v4 = (const void *)a;
	const struct sockaddr_in6 *v6 = (const void *)a;

	if (a->ss_family == AF_INET)
		snprintf(out, size, "%s %d", inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof ip), ntohs(v4->sin_port));
	else
		snprintf(out, size, "%s %d", inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof ip), ntohs(v6->sin6_port));
	return out;
}

static const char *name(int fd, int peer, char *out, size_t size)
{
	struct sockaddr_storage a;
	socklen_t length = sizeof a;

	if ((peer ? getpeername : getsockname)(fd, (void *)&a, &length))
		return "";
	return text_of(&a, out, size);
}

static int fail(const char *step)
{
	printf("{\"step\":\"%s\",\"error\":\"%s\"}\n", step, strerrorname_np(errno));
	return 0;
}

static int uring_connect(int fd, const struct sockaddr_storage *to, socklen_t length)
{
	struct io_uring_params p = {};
	int ring = syscall(SYS_io_uring_setup, 2, &p);
	if (ring < 0)
		return -1;
	char *sq = mmap(0, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	char *cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED,
			ring, IORING_OFF_CQ_RING);
	struct io_uring_sqe *sqe = mmap(0, p.sq_entries * sizeof *sqe, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	memset(sqe, 0, sizeof *sqe);
	sqe->opcode = IORING_OP_CONNECT;
	sqe->fd = fd;
	sqe->addr = (unsigned long)to;
	sqe->off = length;
	((unsigned *)(sq + p.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -1;
	struct io_uring_cqe *cqe = (void *)(cq + p.cq_off.cqes);
	close(ring);
	if (cqe->res == 0)
		return 0;
	errno = -cqe->res;
	return -1;
}

static int nonblocking_connect(int fd, const struct sockaddr_storage *to, socklen_t length)
{
	int flags = fcntl(fd, F_GETFL), error = 0;
	socklen_t size = sizeof error;
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	if (connect(fd, (const void *)to, length) && errno != EINPROGRESS)
		return -1;
	if (poll(&p, 1, WAIT_MS) != 1) {
		errno = ETIMEDOUT;
		return -1;
	}
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	fcntl(fd, F_SETFL, flags);
	errno = error;
	return error ? -1 : 0;
}

static int dial_tcp(const char *mode, int fd, const struct sockaddr_storage *to, socklen_t length)
{
	char self[80], peer[80], reply[256] = "";
	int failed, sent = 0;

	if (!strcmp(mode, "fastopen")) {
		failed = sendto(fd, "hello\n", 6, MSG_FASTOPEN, (const void *)to, length) < 0;
		sent = 1;
	} else if (!strcmp(mode, "uring"))
		failed = uring_connect(fd, to, length);
	else if (!strcmp(mode, "nonblocking"))
		failed = nonblocking_connect(fd, to, length);
	else
		failed = connect(fd, (const void *)to, length);
	if (failed)
		return fail("connect");
	if (!sent && send(fd, "hello\n", 6, MSG_NOSIGNAL) < 0)
		return fail("send");
	name(fd, 1, peer, sizeof peer);
	name(fd, 0, self, sizeof self);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	if (poll(&p, 1, WAIT_MS) == 1) {
		ssize_t n = recv(fd, reply, sizeof reply - 1, 0);
		if (n < 0)
			return fail("recv");
		reply[n] = 0;
	}
	printf("{\"self\":\"%s\",\"peer\":\"%s\",\"reply\":\"%s\"}\n", self, peer, reply);
	return 0;
}

/* Asks a resolver first and drops its answer, so that the socket is one that has asked. */
static int ask_resolver(int fd)
{
	struct sockaddr_storage resolver;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	socklen_t length = address_of("192.0.2.7", 53, &resolver);
	char answer[64];

	return sendto(fd, "query", 5, 0, (void *)&resolver, length) < 0 || poll(&p, 1, WAIT_MS) != 1 ||
	       recv(fd, answer, sizeof answer, 0) < 0;
}

/* udp: connected; udp-unconnected: sendto and recvfrom; udp-sendto: connected, with an address all the same;
 * udp-after-dns: unconnected, on a socket that has asked a resolver before */
static int dial_udp(const char *mode, int fd, const struct sockaddr_storage *to, socklen_t length)
{
	char peer[80] = "", source[80], reply[256];
	struct sockaddr_storage from;
	socklen_t size = sizeof from;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int connected = !strcmp(mode, "udp") || !strcmp(mode, "udp-sendto");

	if (!strcmp(mode, "udp-after-dns") && ask_resolver(fd))
		return fail("resolver");
	if (connected && connect(fd, (const void *)to, length))
		return fail("connect");
	if (sendto(fd, "query", 5, 0, strcmp(mode, "udp") ? (const void *)to : NULL, strcmp(mode, "udp") ? length : 0) < 0)
		return fail("send");
	if (connected)
		strcpy(peer, name(fd, 1, source, sizeof source));
	if (poll(&p, 1, WAIT_MS) != 1) {
		errno = ETIMEDOUT;
		return fail("recv");
	}
	ssize_t n = recvfrom(fd, reply, sizeof reply - 1, 0, (void *)&from, &size);
	if (n < 0)
		return fail("recv");
	reply[n] = 0;
	printf("{\"peer\":\"%s\",\"source\":\"%s\",\"reply\":\"%s\"}\n", peer, text_of(&from, source, sizeof source), reply);
	return 0;
}

static int dial(const char *mode, const char *address, int port, const char *source)
{
	struct sockaddr_storage to, own;
	socklen_t length = address_of(address, port, &to);
	int udp = !strncmp(mode, "udp", 3);
	int fd = socket(to.ss_family, udp ? SOCK_DGRAM : SOCK_STREAM, !strcmp(mode, "mptcp") ? PROTOCOL_MPTCP : 0);

	if (fd < 0)
		return fail("socket");
	if (source && bind(fd, (void *)&own, address_of(source, 0, &own)))
		return fail("bind");
	return udp ? dial_udp(mode, fd, &to, length) : dial_tcp(mode, fd, &to, length);
}

static int bound(int type, const char *address, int port)
{
	struct sockaddr_storage at;
	socklen_t length = address_of(address, port, &at);
	int on = 1, fd = socket(at.ss_family, type, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (void *)&at, length) || (type == SOCK_STREAM && listen(fd, 64))) {
		perror("bind");
		exit(2);
	}
	puts("ready");
	fflush(stdout);
	return fd;
}

_Noreturn static void serve(const char *address, int port)
{
	int listener = bound(SOCK_STREAM, address, port);

	for (;;) {
		struct sockaddr_storage from;
		socklen_t size = sizeof from;
		char accepted[80], peer[80], self[80], reply[256];
		int fd = accept(listener, (void *)&from, &size);

		if (fd < 0)
			continue;
		snprintf(reply, sizeof reply, "accepted %s, peer %s, self %s", text_of(&from, accepted, sizeof accepted),
			 name(fd, 1, peer, sizeof peer), name(fd, 0, self, sizeof self));
		recv(fd, peer, sizeof peer, 0);
		send(fd, reply, strlen(reply), MSG_NOSIGNAL);
		close(fd);
	}
}

_Noreturn static void dns_server(const char *address, int port)
{
	int fd = bound(SOCK_DGRAM, address, port);

	for (;;) {
		struct sockaddr_storage from;
		socklen_t size = sizeof from;
		char query[512];

		if (recvfrom(fd, query, sizeof query, 0, (void *)&from, &size) >= 0)
			sendto(fd, "answer", 6, 0, (void *)&from, size);
	}
}

/* An end that comes from outside is told by its error. */
static int ended(const char *how)
{
	printf("{\"end\":\"%s\"}\n", how);
	fflush(stdout);
	return 0;
}

/* Lines of standard input go to the server, its answers to standard output; the end of input closes the connection. */
static int hold(const char *address, int port, const char *source, int source_port)
{
	struct sockaddr_storage to, own;
	socklen_t length = address_of(address, port, &to);
	int fd = socket(to.ss_family, SOCK_STREAM, 0), on = 1;
	char self[80], peer[80], data[4096];

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (source && bind(fd, (void *)&own, address_of(source, source_port, &own)))
		return fail("bind");
	if (nonblocking_connect(fd, &to, length))
		return fail("connect");
	name(fd, 1, peer, sizeof peer);
	name(fd, 0, self, sizeof self);
	printf("{\"self\":\"%s\",\"peer\":\"%s\"}\n", self, peer);
	fflush(stdout);
	struct pollfd both[2] = { { .fd = 0, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
	for (;;) {
		if (poll(both, 2, -1) < 0)
			return ended(strerrorname_np(errno));
		if (both[1].revents) {
			ssize_t n = recv(fd, data, sizeof data - 1, 0);
			if (n <= 0)
				return ended(n == 0 ? "closed" : strerrorname_np(errno));
			data[n] = 0;
			printf("{\"data\":\"%s\"}\n", data);
			fflush(stdout);
		} else if (both[0].revents) {
			ssize_t n = read(0, data, sizeof data);
			if (n <= 0)
				return ended("input");
			if (send(fd, data, n - 1, MSG_NOSIGNAL) < 0)
				return ended(strerrorname_np(errno));
		}
	}
}

/* Each is closed by the server, which tells whom it sees, before the next begins. */
static int burst(const char *address, int port, int count)
{
	struct sockaddr_storage to;
	socklen_t length = address_of(address, port, &to);
	char data[256];
	int stood = 0;

	for (int i = 0; i < count; i++) {
		int fd = socket(to.ss_family, SOCK_STREAM, 0);
		if (connect(fd, (void *)&to, length) == 0 && send(fd, "x", 1, MSG_NOSIGNAL) == 1) {
			stood++;
			while (recv(fd, data, sizeof data, 0) > 0)
				;
		}
		close(fd);
	}
	printf("{\"stood\":\"%d\"}\n", stood);
	return 0;
}

static unsigned short checksum(const void *data, size_t size, unsigned sum)
{
	const unsigned short *at = data;

	for (; size > 1; size -= 2)
		sum += *at++;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static int raw(const char *source, int source_port, const char *address, int port)
{
	struct sockaddr_storage own, to;
	const struct in_addr *self = &((struct sockaddr_in *)&own)->sin_addr, *peer = &((struct sockaddr_in *)&to)->sin_addr;
	struct {
		struct in_addr source, destination;
		unsigned char zero, protocol;
		unsigned short length;
		struct tcphdr tcp;
	} packet = { .protocol = IPPROTO_TCP, .length = htons(sizeof(struct tcphdr)) };
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_TCP);
	char answer[512];

	socklen_t length = address_of(source, 0, &own);
	address_of(address, 0, &to);
	if (fd < 0 || bind(fd, (void *)&own, length))
		return fail("socket");
	packet.source = *self;
	packet.destination = *peer;
	packet.tcp.source = htons(source_port);
	packet.tcp.dest = htons(port);
	packet.tcp.seq = htonl(1000);
	packet.tcp.doff = sizeof packet.tcp / 4;
	packet.tcp.syn = 1;
	packet.tcp.window = htons(65535);
	packet.tcp.check = checksum(&packet, sizeof packet, 0);
	if (sendto(fd, &packet.tcp, sizeof packet.tcp, 0, (void *)&to, length) < 0)
		return fail("send");
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (poll(&p, 1, WAIT_MS) != 1) {
			errno = ETIMEDOUT;
			return fail("recv");
		}
		ssize_t n = recv(fd, answer, sizeof answer, 0);
		const struct iphdr *ip = (void *)answer;
		const struct tcphdr *tcp = (void *)(answer + ip->ihl * 4);
		if (n < (ssize_t)sizeof *ip || ip->saddr != peer->s_addr || tcp->source != htons(port) ||
		    tcp->dest != htons(source_port))
			continue;
		printf("{\"reply\":\"%s\"}\n", tcp->rst ? "rst" : tcp->syn && tcp->ack ? "syn-ack" : "other");
		return 0;
	}
}

_Noreturn static void echo(const char *address, int port)
{
	int listener = bound(SOCK_STREAM, address, port);

	for (;;) {
		char data[4096];
		ssize_t n;
		int fd = accept(listener, NULL, NULL);

		if (fd < 0 || fork() != 0) {
			close(fd);
			continue;
		}
		close(listener);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while ((n = recv(fd, data, sizeof data, 0)) > 0)
			send(fd, data, n, MSG_NOSIGNAL);
		_exit(0);
	}
}

int main(int argc, char **argv)
{
	if (argc >= 4 && !strcmp(argv[1], "hold"))
		return hold(argv[2], atoi(argv[3]), argc > 5 ? argv[4] : NULL, argc > 5 ? atoi(argv[5]) : 0);
	if (argc == 5 && !strcmp(argv[1], "burst"))
		return burst(argv[2], atoi(argv[3]), atoi(argv[4]));
	if (argc == 6 && !strcmp(argv[1], "raw"))
		return raw(argv[2], atoi(argv[3]), argv[4], atoi(argv[5]));
	if (argc == 4 && !strcmp(argv[1], "echo")) {
		signal(SIGCHLD, SIG_IGN);
		echo(argv[2], atoi(argv[3]));
	}
	if (argc >= 5 && !strcmp(argv[1], "dial"))
		return dial(argv[2], argv[3], atoi(argv[4]), argc > 5 ? argv[5] : NULL);
	if (argc == 4 && !strcmp(argv[1], "serve"))
		serve(argv[2], atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "dns-server"))
		dns_server(argv[2], atoi(argv[3]));
	return 2;
}
