// Sends as fast as the connections take it; the rate is what the sink counted between the two ends of the window.
// bulk --host IP --port SINK --streams N --ramp SECONDS --seconds SECONDS --counter FILE [--pids A,B]
#include "load.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#define CHUNK_BYTES (128 * 1024)

static struct sockaddr_in target;

static void *send_for_ever(void *unused) {
  (void)unused;
  static char chunk[CHUNK_BYTES];
  int fd = dial(&target);
  if (fd < 0) die("connect");
  while (send(fd, chunk, sizeof chunk, MSG_NOSIGNAL) > 0) continue;
  die("send");
  return NULL;
}

int main(int argc, char **argv) {
  target = target_option(argc, argv);
  struct pids pids = pids_option(argc, argv);
  int file = open(option(argc, argv, "counter", NULL), O_RDONLY);
  if (file < 0) die("counter");
  const volatile uint64_t *received = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
  if (received == MAP_FAILED) die("mmap");
  int streams = (int)number_option(argc, argv, "streams", "1");
  for (int i = 0; i < streams; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, send_for_ever, NULL) != 0) die("pthread_create");
  }
  sleep_seconds(number_option(argc, argv, "ramp", "0.5"));
  double cpu = cpu_seconds(&pids);
  uint64_t bytes = *received, start = now_ns();
  sleep_seconds(number_option(argc, argv, "seconds", NULL));
  bytes = *received - bytes;
  double seconds = (double)(now_ns() - start) / 1e9;
  cpu = cpu_seconds(&pids) - cpu;
  printf("{\"bytes\":%llu,\"seconds\":%.6f,\"cpuSeconds\":%.2f}\n", (unsigned long long)bytes, seconds, cpu);
  return 0;
}
