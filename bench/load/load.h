// What the load tools share: time, arguments, sockets, CPU time of the proxies under test. Each tool prints its result
// as one JSON line on standard output and its complaints on standard error. IPv4 only; the bench's networks have both.
#ifndef WEFT_LOAD_H
#define WEFT_LOAD_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_BYTES 64
#define MAX_PIDS 64

static inline void die(const char *what) {
  perror(what);
  exit(1);
}

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void sleep_seconds(double seconds) {
  struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
  while (nanosleep(&t, &t) != 0 && errno == EINTR) continue;
}

// The value of "--name VALUE", or the fallback; exits when there is neither.
static inline const char *option(int argc, char **argv, const char *name, const char *fallback) {
  for (int i = 1; i + 1 < argc; i++)
    if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0) return argv[i + 1];
  if (fallback == NULL) {
    fprintf(stderr, "%s: --%s is missing\n", argv[0], name);
    exit(64);
  }
  return fallback;
}

static inline double number_option(int argc, char **argv, const char *name, const char *fallback) {
  return atof(option(argc, argv, name, fallback));
}

static inline struct sockaddr_in target_option(int argc, char **argv) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_port = htons((uint16_t)number_option(argc, argv, "port", NULL));
  if (inet_pton(AF_INET, option(argc, argv, "host", NULL), &address.sin_addr) != 1) {
    fprintf(stderr, "%s: --host must be an IPv4 address\n", argv[0]);
    exit(64);
  }
  return address;
}

// As many descriptors as the machine allows: 10,000 connections are more than the usual 1,024.
static inline void raise_descriptor_limit(void) {
  struct rlimit limit = {1048576, 1048576};
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static inline void set_no_delay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// A blocking connection on which no call waits longer than ten seconds, or -1.
static inline int dial(const struct sockaddr_in *address) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  struct timeval limit = {10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  set_no_delay(fd);
  if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) return fd;
  int failure = errno;
  close(fd);
  errno = failure;
  return -1;
}

// One message to the echo server and back; false when the connection failed.
static inline int round_trip(int fd) {
  static const char message[MESSAGE_BYTES] = "weft";
  char answer[MESSAGE_BYTES];
  if (send(fd, message, sizeof message, MSG_NOSIGNAL) != (ssize_t)sizeof message) return 0;
  for (size_t got = 0; got < sizeof answer;) {
    ssize_t n = recv(fd, answer + got, sizeof answer - got, 0);
    if (n <= 0) return 0;
    got += (size_t)n;
  }
  return 1;
}

// --- CPU time of the proxies, read inside the measured window so that both cover exactly the same time ---------------

struct pids {
  int count;
  int pid[MAX_PIDS];
};

// --pids 12,34: none is fine.
static inline struct pids pids_option(int argc, char **argv) {
  struct pids pids = {0};
  char *list = strdup(option(argc, argv, "pids", ""));
  for (char *save = NULL, *one = strtok_r(list, ",", &save); one && pids.count < MAX_PIDS; one = strtok_r(NULL, ",", &save))
    pids.pid[pids.count++] = atoi(one);
  free(list);
  return pids;
}

// User and system time of these processes so far, in seconds (proc(5): fields 14 and 15, in clock ticks).
static inline double cpu_seconds(const struct pids *pids) {
  unsigned long ticks = 0;
  for (int i = 0; i < pids->count; i++) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pids->pid[i]);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
      fprintf(stderr, "Process %d of the proxies under test has ended\n", pids->pid[i]);
      exit(1);
    }
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = 0;
    unsigned long user = 0, system = 0;
    char *after_name = strrchr(text, ')');
    if (after_name != NULL)
      sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    ticks += user + system;
  }
  return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

// --- Percentiles ---------------------------------------------------------------------------------------------------

struct samples {
  size_t count, capacity;
  float *us;
};

static inline void add_sample(struct samples *samples, uint64_t ns) {
  if (samples->count == samples->capacity) {
    samples->capacity = samples->capacity ? samples->capacity * 2 : 1 << 16;
    samples->us = realloc(samples->us, samples->capacity * sizeof *samples->us);
    if (samples->us == NULL) die("realloc");
  }
  samples->us[samples->count++] = (float)ns / 1000.0f;
}

static inline int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static inline void sort_samples(struct samples *samples) {
  if (samples->count > 0) qsort(samples->us, samples->count, sizeof *samples->us, by_value);
}

// Of sorted samples; 0 when there are none.
static inline double percentile(const struct samples *samples, double part) {
  if (samples->count == 0) return 0;
  size_t index = (size_t)(part * (double)samples->count);
  return samples->us[index < samples->count ? index : samples->count - 1];
}

#endif
