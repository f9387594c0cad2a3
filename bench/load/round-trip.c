// 64-byte round trips on one connection, one after the other.
// round-trip --host IP --port ECHO --ramp SECONDS --seconds SECONDS [--pids A,B]
#include "load.h"

static void run(int fd, double seconds, struct samples *samples) {
  uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
  for (uint64_t before = now_ns(); before < end;) {
    if (!round_trip(fd)) die("round trip");
    uint64_t after = now_ns();
    if (samples != NULL) add_sample(samples, after - before);
    before = after;
  }
}

int main(int argc, char **argv) {
  struct sockaddr_in target = target_option(argc, argv);
  struct pids pids = pids_option(argc, argv);
  struct samples samples = {0};
  int fd = dial(&target);
  if (fd < 0) die("connect");
  run(fd, number_option(argc, argv, "ramp", "0.5"), NULL);
  double cpu = cpu_seconds(&pids);
  run(fd, number_option(argc, argv, "seconds", NULL), &samples);
  cpu = cpu_seconds(&pids) - cpu;
  sort_samples(&samples);
  printf("{\"count\":%zu,\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f,\"cpuSeconds\":%.2f}\n", samples.count,
         percentile(&samples, 0.5), percentile(&samples, 0.99), percentile(&samples, 0.999),
         percentile(&samples, 1), cpu);
  return 0;
}
