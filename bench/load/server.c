// The application in the server pod: an echo port served by one thread; an echo port that forks for each connection, as
// an application whose connections cost it something; and a sink port that counts what it receives into a shared file,
// so that throughput is taken where the bytes arrive and nothing flows back for it.
// server --host IP --echo PORT --fork PORT --sink PORT --counter FILE
#include "load.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#define BUFFER_BYTES (128 * 1024)

enum role { LISTEN_ECHO, LISTEN_FORK, LISTEN_SINK, ECHO, SINK };

static char buffer[BUFFER_BYTES];
static volatile uint64_t *received;
static int epoll;

static void watch(int fd, enum role role) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)role << 32 | (uint32_t)fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
}

static void listen_on(const char *host, int port, enum role role) {
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, host, &address.sin_addr);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) die("bind");
  if (listen(fd, 4096) != 0) die("listen");
  watch(fd, role);
}

static void accept_all(int listener, enum role role) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno != EAGAIN && errno != ECONNABORTED) die("accept");
      return;
    }
    set_no_delay(fd);
    watch(fd, role);
  }
}

static void fork_echo(int fd) {
  char message[MESSAGE_BYTES];
  for (ssize_t n; (n = recv(fd, message, sizeof message, 0)) > 0;)
    if (send(fd, message, (size_t)n, MSG_NOSIGNAL) != n) break;
  _exit(0);
}

static void accept_and_fork(int listener) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno != EAGAIN && errno != ECONNABORTED) die("accept");
      return;
    }
    set_no_delay(fd);
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) fork_echo(fd);
    close(fd);
  }
}

// A round-trip client never has more in flight than the socket buffer holds; one that does is cut off.
static void echo(int fd) {
  ssize_t n = recv(fd, buffer, sizeof buffer, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0 || send(fd, buffer, (size_t)n, MSG_NOSIGNAL) != n) close(fd);
}

static void swallow(int fd) {
  ssize_t n = recv(fd, buffer, sizeof buffer, 0);
  if (n > 0) *received += (uint64_t)n;
  else if (n == 0 || errno != EAGAIN) close(fd);
}

int main(int argc, char **argv) {
  raise_descriptor_limit();
  signal(SIGCHLD, SIG_IGN);
  int file = open(option(argc, argv, "counter", NULL), O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0 || ftruncate(file, 4096) != 0) die("counter");
  received = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (received == MAP_FAILED) die("mmap");
  epoll = epoll_create1(EPOLL_CLOEXEC);
  const char *host = option(argc, argv, "host", NULL);
  listen_on(host, (int)number_option(argc, argv, "echo", NULL), LISTEN_ECHO);
  listen_on(host, (int)number_option(argc, argv, "fork", NULL), LISTEN_FORK);
  listen_on(host, (int)number_option(argc, argv, "sink", NULL), LISTEN_SINK);
  printf("{\"listening\":true}\n");
  fflush(stdout);
  struct epoll_event events[256];
  for (;;) {
    int n = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < n; i++) {
      int fd = (int)(uint32_t)events[i].data.u64;
      switch ((enum role)(events[i].data.u64 >> 32)) {
        case LISTEN_ECHO: accept_all(fd, ECHO); break;
        case LISTEN_FORK: accept_and_fork(fd); break;
        case LISTEN_SINK: accept_all(fd, SINK); break;
        case ECHO: echo(fd); break;
        case SINK: swallow(fd); break;
      }
    }
  }
}
