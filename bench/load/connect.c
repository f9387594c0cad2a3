// Connections one after the other in each of N threads: connect, one 64-byte round trip, close, or with --reset 1 a reset.
// connect --host IP --port ECHO (--seconds SECONDS | --count N) [--ramp SECONDS] [--threads N] [--reset 1] [--pids A,B]
// connect --host IP --port ECHO --wait SECONDS: tries until one connection succeeds.
#include "load.h"
#include <pthread.h>

#define MAX_THREADS 64

struct worker {
  pthread_t thread;
  uint64_t until_ns;
  long until_count;
  long failed;
  int last_error;
  struct samples samples;
};

static struct sockaddr_in target;
static int reset;

static int one_connection(void) {
  int fd = dial(&target);
  if (fd < 0) return 0;
  int ok = round_trip(fd);
  int failure = errno;
  struct linger at_once = {.l_onoff = 1};
  if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(fd);
  errno = failure;
  return ok;
}

static void *work(void *argument) {
  struct worker *worker = argument;
  long done = 0;
  for (uint64_t before = now_ns(); before < worker->until_ns && done < worker->until_count; done++) {
    errno = 0;
    int ok = one_connection();
    int failure = errno;
    uint64_t after = now_ns();
    if (ok) add_sample(&worker->samples, after - before);
    else {
      worker->failed++;
      worker->last_error = failure;
    }
    before = after;
  }
  return NULL;
}

// Adds what the threads did to the totals of the window.
static long run(int threads, double seconds, long count, struct samples *samples, int *last_error) {
  static struct worker workers[MAX_THREADS];
  long failed = 0;
  memset(workers, 0, sizeof workers);
  for (int i = 0; i < threads; i++) {
    workers[i].until_ns = seconds > 0 ? now_ns() + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    workers[i].until_count = count > 0 ? count / threads + (i < count % threads) : INT64_MAX;
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) die("pthread_create");
  }
  for (int i = 0; i < threads; i++) {
    struct worker *worker = &workers[i];
    pthread_join(worker->thread, NULL);
    failed += worker->failed;
    if (worker->last_error != 0) *last_error = worker->last_error;
    for (size_t k = 0; k < worker->samples.count; k++) add_sample(samples, (uint64_t)(worker->samples.us[k] * 1000.0f));
    free(worker->samples.us);
  }
  return failed;
}

// Exits with the last reason when there was no success in time.
static int wait_for_first(double seconds) {
  uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
  do {
    sleep_seconds(0.05);
    if (one_connection()) {
      printf("{\"count\":1,\"failed\":0}\n");
      return 0;
    }
  } while (now_ns() < end);
  die("no connection");
  return 1;
}

int main(int argc, char **argv) {
  target = target_option(argc, argv);
  reset = (int)number_option(argc, argv, "reset", "0");
  double wait = number_option(argc, argv, "wait", "0");
  if (wait > 0) return wait_for_first(wait);
  struct pids pids = pids_option(argc, argv);
  struct samples samples = {0}, ramp = {0};
  int threads = (int)number_option(argc, argv, "threads", "1"), last_error = 0;
  if (threads < 1 || threads > MAX_THREADS) {
    fprintf(stderr, "--threads must be from 1 to %d\n", MAX_THREADS);
    return 64;
  }
  double ramp_seconds = number_option(argc, argv, "ramp", "0");
  if (ramp_seconds > 0) run(threads, ramp_seconds, 0, &ramp, &last_error);
  double seconds = number_option(argc, argv, "seconds", "0");
  long count = (long)number_option(argc, argv, "count", "0");
  double cpu = cpu_seconds(&pids);
  uint64_t start = now_ns();
  long failed = run(threads, seconds, count, &samples, &last_error);
  seconds = (double)(now_ns() - start) / 1e9;
  cpu = cpu_seconds(&pids) - cpu;
  sort_samples(&samples);
  printf("{\"count\":%zu,\"failed\":%ld,\"error\":\"%s\",\"seconds\":%.6f,\"p50\":%.1f,\"p99\":%.1f,\"cpuSeconds\":%.2f}\n",
         samples.count, failed, last_error ? strerror(last_error) : "", seconds, percentile(&samples, 0.5),
         percentile(&samples, 0.99), cpu);
  return 0;
}
