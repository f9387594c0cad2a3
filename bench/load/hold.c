// Opens connections, one round trip on each, then keeps them idle until SIGTERM; then one more round trip on each shows
// that they still live. Prints a line when all are open and one at the end.
// hold --host IP --port ECHO --count N [--threads N]
#include "load.h"
#include <pthread.h>
#include <signal.h>

static struct sockaddr_in target;
static int *connections;
static int count, threads;

static void *open_share(void *argument) {
  for (int i = (int)(intptr_t)argument; i < count; i += threads) {
    connections[i] = dial(&target);
    if (connections[i] < 0) die("connect");
    if (!round_trip(connections[i])) die("round trip");
  }
  return NULL;
}

int main(int argc, char **argv) {
  raise_descriptor_limit();
  target = target_option(argc, argv);
  count = (int)number_option(argc, argv, "count", NULL);
  threads = (int)number_option(argc, argv, "threads", "16");
  connections = calloc((size_t)count, sizeof *connections);
  pthread_t *ids = calloc((size_t)threads, sizeof *ids);
  if (connections == NULL || ids == NULL) die("calloc");
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, NULL);
  uint64_t start = now_ns();
  for (int i = 0; i < threads; i++)
    if (pthread_create(&ids[i], NULL, open_share, (void *)(intptr_t)i) != 0) die("pthread_create");
  for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
  printf("{\"held\":%d,\"seconds\":%.3f}\n", count, (double)(now_ns() - start) / 1e9);
  fflush(stdout);
  int signal_number;
  sigwait(&term, &signal_number);
  int alive = 0;
  for (int i = 0; i < count; i++) alive += round_trip(connections[i]);
  printf("{\"alive\":%d}\n", alive);
  return 0;
}
