// The CNI plugin `weft-cni`: hands what the container runtime gave it to the node tunnel (ztunnel/cni-server.ts) and says
// what that answers. Decides one thing alone: without a node tunnel, pods of enrolled namespaces wait and are then refused,
// all others pass. Static, because it runs on whatever the node is. CNI specification 1.1.0.
//
// Request, until the end of the stream: CNI_* of the environment and WEFT_NETNS, each ended by NUL; one more NUL; stdin.
// Answer, until the end of the stream: '+' the pod may start, or '-' and a CNI error as JSON.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { MAX_BYTES = 1 << 20, WAIT_MS = 10000, RETRY_MS = 100, ADD_MS = 40000, OTHER_MS = 2000, TRY_AGAIN = 11 };
enum answer { AWAY, PASS, REFUSED };

static char input[MAX_BYTES + 1], answer_text[MAX_BYTES + 1];
static size_t input_length;

static long long now_ms(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static const char *variable(const char *name) {
	const char *value = getenv(name);
	return value ? value : "";
}

/* Where the node tunnel's files are. The same on every node; tests have their own. */
static const char *node_directory(void) {
	const char *value = variable("WEFT_NODE_DIRECTORY");
	return *value ? value : "/var/lib/weft";
}

static int fail(int code, const char *message) {
	printf("{\"cniVersion\":\"1.0.0\",\"code\":%d,\"msg\":\"Weft: %s\"}\n", code, message);
	return 1;
}

/* A value of CNI_ARGS (`A=1;B=2`), without characters that would need escapes; "" if it is not there. */
static const char *argument(const char *key, char *value, size_t size) {
	size_t length = strlen(key), used = 0;
	for (const char *at = variable("CNI_ARGS"); *at; at += strcspn(at, ";"), at += *at == ';') {
		if (strncmp(at, key, length) != 0 || at[length] != '=') continue;
		for (at += length + 1; *at && *at != ';' && used + 1 < size; at++)
			value[used++] = strchr("\"\\\n", *at) || (unsigned char)*at < ' ' ? '?' : *at;
		break;
	}
	value[used] = 0;
	return value;
}

/* From an opening quote to behind the closing one; 0 if there is none. */
static const char *skip_string(const char *at) {
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && at[1]) at++;
	return *at ? at + 1 : 0;
}

static const char *skip_value(const char *at) {
	for (int depth = 0; *at; at++) {
		if (*at == '"') {
			if (!(at = skip_string(at))) return 0;
			at--;
		} else if (*at == '{' || *at == '[') depth++;
		else if (*at == '}' || *at == ']') {
			if (depth == 0) return at;
			depth--;
		} else if (*at == ',' && depth == 0) return at;
	}
	return 0;
}

static const char *skip_space(const char *at) {
	return at + strspn(at, " \t\r\n");
}

/* The object `prevResult` of the configuration, byte for byte; 0 if there is none. */
static const char *previous_result(size_t *length) {
	static const char key[] = "\"prevResult\"";
	const char *at = skip_space(input);
	if (*at++ != '{') return 0;
	for (;;) {
		const char *name = at = skip_space(at);
		if (*at != '"' || !(at = skip_string(at))) return 0;
		size_t name_length = at - name;
		at = skip_space(at);
		if (*at++ != ':') return 0;
		const char *value = at = skip_space(at);
		if (!(at = skip_value(at))) return 0;
		*length = at - value;
		if (name_length == sizeof key - 1 && memcmp(name, key, name_length) == 0) return *value == '{' ? value : 0;
		if (*at++ != ',') return 0;
	}
}

/* 1 or 0 by what the node tunnel wrote when it last ran; nothing was ever enrolled where it wrote nothing. */
static int is_enrolled(const char *name) {
	char path[512], line[256];
	snprintf(path, sizeof path, "%s/enrolled-namespaces", node_directory());
	FILE *file = fopen(path, "re");
	if (!file) return errno != ENOENT;
	int found = 0;
	while (!found && fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = 0;
		found = strcmp(line, name) == 0;
	}
	found |= ferror(file) != 0;
	fclose(file);
	return found;
}

static int send_all(int fd, const char *bytes, size_t length) {
	while (length > 0) {
		ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
		if (sent <= 0) return 0;
		bytes += sent;
		length -= sent;
	}
	return 1;
}

static int send_request(int fd) {
	char netns[64];
	for (char **at = environ; *at; at++)
		if (strncmp(*at, "CNI_", 4) == 0 && !send_all(fd, *at, strlen(*at) + 1)) return 0;
	/* A path of this mount namespace says nothing in the node tunnel's; a descriptor does, as long as this waits. */
	static int netns_fd = -1;
	if (netns_fd < 0) netns_fd = open(variable("CNI_NETNS"), O_RDONLY | O_CLOEXEC);
	int length = snprintf(netns, sizeof netns, "WEFT_NETNS=/proc/%d/fd/%d", getpid(), netns_fd);
	if (netns_fd >= 0 && !send_all(fd, netns, length + 1)) return 0;
	return send_all(fd, "", 1) && send_all(fd, input, input_length) && shutdown(fd, SHUT_WR) == 0;
}

/* Whatever is not a whole answer in time counts as none. */
static enum answer ask(int timeout_ms) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = timeout_ms / 1000};
	enum answer answer = AWAY;
	size_t length = 0;
	ssize_t got = 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof address.sun_path, "%s/cni.sock", node_directory());
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && send_request(fd)) {
		while (length < MAX_BYTES && (got = recv(fd, answer_text + length, MAX_BYTES - length, 0)) > 0) length += got;
		answer_text[length] = 0;
		if (got == 0 && length > 0) answer = *answer_text == '+' ? PASS : *answer_text == '-' ? REFUSED : AWAY;
	}
	close(fd);
	return answer;
}

static int add(void) {
	char namespace[256], pod[256], message[1024];
	size_t length;
	const char *result = previous_result(&length);
	if (!result) return fail(7, "no result of another CNI plugin came with the configuration; weft-cni must come after one");
	argument("K8S_POD_NAMESPACE", namespace, sizeof namespace);
	argument("K8S_POD_NAME", pod, sizeof pod);
	enum answer answer = PASS;
	if (*namespace) {
		int enrolled = is_enrolled(namespace);
		long long until = now_ms() + WAIT_MS;
		while ((answer = ask(ADD_MS)) == AWAY && enrolled && now_ms() < until) poll(0, 0, RETRY_MS);
		if (answer == AWAY && enrolled) {
			snprintf(message, sizeof message,
				"pod %s/%s waits: its namespace is in the mesh and the node tunnel does not answer on %s/cni.sock; "
				"it starts when the pod of weft-ztunnel on this node runs (kubectl get pods -A -o wide -l "
				"app.kubernetes.io/name=weft-ztunnel)", namespace, pod, node_directory());
			return fail(TRY_AGAIN, message);
		}
	}
	if (answer == REFUSED) return puts(answer_text + 1), 1;
	return fwrite(result, 1, length, stdout) == length && fflush(stdout) == 0 ? 0 : 1;
}

int main(void) {
	const char *command = variable("CNI_COMMAND");
	if (strcmp(command, "VERSION") == 0)
		return puts("{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}") < 0;
	/* A node without its node tunnel still takes pods: STATUS has nothing to complain of. GC has nothing to collect. */
	if (strcmp(command, "STATUS") == 0 || strcmp(command, "GC") == 0) return 0;
	ssize_t got;
	while ((got = read(0, input + input_length, MAX_BYTES - input_length)) > 0) input_length += got;
	if (got < 0 || input_length == MAX_BYTES) return fail(5, "the configuration could not be read, or is longer than 1 MiB");
	if (strcmp(command, "ADD") == 0) return add();
	if (strcmp(command, "CHECK") == 0 && ask(OTHER_MS) == REFUSED) return puts(answer_text + 1), 1;
	if (strcmp(command, "DEL") == 0) ask(OTHER_MS);
	return strcmp(command, "CHECK") && strcmp(command, "DEL") ? fail(4, "CNI_COMMAND is none of VERSION, ADD, CHECK, DEL, GC, STATUS") : 0;
}
