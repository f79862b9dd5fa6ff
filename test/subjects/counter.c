// SPDX-License-Identifier: Apache-2.0
// A program without a GPU that counts: one line for each step to standard output, every tenth to
// standard error too, and to a file if one is named. Its lines tell whether a dump and a restore
// lost or repeated anything.
//
//   counter LINES MICROSECONDS [--file PATH | --append PATH] [--children N] [--memfd] [--stdin]
//           [--burst BYTES] [--memory MIB] [--unix PATH] [--tcp PORT] [--threads N]
//           [--gate PATH]
//
// --children N  forks N processes that count along silently and are waited for at the end
// --memfd       keeps the count in a sealed, shared memfd as well and checks it at every step
// --stdin       reads one line before each step and repeats it ("got ..."); ends with the input
// --gate PATH   stands before the second half of its lines until that file exists, so that a test
//               decides what happens in the first half, however slow the machine is
// --threads N   starts N threads that count along; each must reach the end
// --unix PATH   connects to a unix socket and keeps the connection; --tcp PORT likewise, locally
// --memory MIB  touches that much memory first, and checks it at the end
// --burst BYTES writes lines of this length, to fill a pipe that nobody reads
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct counting {
  long lines;
  useconds_t pause;
  const char *gate;
};

static void wait_at_gate(const struct counting *counting, long step) {
  if (counting->gate == NULL || step != counting->lines / 2) return;
  while (access(counting->gate, F_OK) != 0) usleep(1000);
}

static void count_silently(const struct counting *counting) {
  for (long i = 0; i < counting->lines; ++i) {
    wait_at_gate(counting, i);
    usleep(counting->pause);
  }
}

static long *shared_count(void) {
  const int fd = memfd_create("counter", MFD_ALLOW_SEALING);
  if (fd < 0 || ftruncate(fd, 1 << 20) != 0) return NULL;
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return NULL;
  long *count = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return count == MAP_FAILED ? NULL : count;
}

static void write_all(int fd, const char *text, size_t bytes) {
  while (bytes > 0) {
    const ssize_t count = write(fd, text, bytes);
    if (count < 0) exit(3);
    text += count;
    bytes -= (size_t)count;
  }
}

static void count_in_child(const struct counting *counting) {
  if (fork() != 0) return;
  count_silently(counting);
  _exit(0);
}

static void connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) exit(6);
}

static void connect_to_port(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) exit(6);
}


static void *count_in_thread(void *argument) {
  count_silently(argument);
  return argument;
}

static unsigned char *fill(size_t bytes) {
  unsigned char *memory = malloc(bytes);
  for (size_t i = 0; i < bytes; ++i) memory[i] = (unsigned char)(i * 2654435761U >> 24);
  return memory;
}

static int is_filled(const unsigned char *memory, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) {
    if (memory[i] != (unsigned char)(i * 2654435761U >> 24)) return 0;
  }
  return 1;
}

struct options {
  int file;
  int reads;
  size_t width;
  size_t filled;
  unsigned char *memory;
  long *shared;
  long threads;
  long children;
};

static struct options parse(int argc, char **argv, struct counting *counting) {
  struct options o = {.file = -1};
  for (int i = 3; i < argc; ++i) {
    const char *name = argv[i];
    if (strcmp(name, "--stdin") == 0) {
      o.reads = 1;
      continue;
    }
    if (strcmp(name, "--memfd") == 0) {
      if ((o.shared = shared_count()) == NULL) exit(4);
      continue;
    }
    if (++i == argc) exit(2);
    const char *value = argv[i];
    if (strcmp(name, "--file") == 0) o.file = open(value, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (strcmp(name, "--append") == 0) o.file = open(value, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (strcmp(name, "--unix") == 0) connect_to(value);
    if (strcmp(name, "--tcp") == 0) connect_to_port(atoi(value));
    if (strcmp(name, "--gate") == 0) counting->gate = value;
    if (strcmp(name, "--burst") == 0) o.width = (size_t)atol(value);
    if (strcmp(name, "--memory") == 0) o.filled = (size_t)atol(value) << 20;
    if (strcmp(name, "--threads") == 0) o.threads = atol(value);
    if (strcmp(name, "--children") == 0) o.children = atol(value);
  }
  o.memory = fill(o.filled);
  return o;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  // What a careless parent left open is not this program's business.
  close_range(3, ~0U, 0);
  struct counting counting = {atol(argv[1]), (useconds_t)atol(argv[2]), NULL};
  const struct options o = parse(argc, argv, &counting);
  for (long n = 0; n < o.children; ++n) count_in_child(&counting);
  pthread_t threads[64];
  for (long n = 0; n < o.threads && n < 64; ++n) {
    if (pthread_create(&threads[n], NULL, count_in_thread, &counting) != 0) return 9;
  }
  char *line = calloc(1, 512 + o.width);
  for (long step = 0; step < counting.lines; ++step) {
    wait_at_gate(&counting, step);
    int bytes = snprintf(line, 256, "line %ld", step);
    if (o.reads) {
      char got[128];
      if (fgets(got, sizeof got, stdin) == NULL) break;
      bytes = snprintf(line, 256, "got %.*s", (int)strcspn(got, "\n"), got);
    }
    while ((size_t)bytes < o.width) line[bytes++] = '.';
    line[bytes++] = '\n';
    write_all(1, line, (size_t)bytes);
    if (o.file >= 0) write_all(o.file, line, (size_t)bytes);
    if (step % 10 == 0) write_all(2, line, (size_t)bytes);
    if (o.shared != NULL && (*o.shared)++ != step) return 5;
    usleep(counting.pause);
  }
  for (long n = 0; n < o.threads && n < 64; ++n) {
    void *result = NULL;
    if (pthread_join(threads[n], &result) != 0 || result != &counting) return 9;
  }
  while (wait(NULL) > 0) {
  }
  if (!is_filled(o.memory, o.filled)) return 8;
  write_all(1, "done\n", 5);
  return 7;
}
