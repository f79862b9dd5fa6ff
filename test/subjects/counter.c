// SPDX-License-Identifier: Apache-2.0
// A program without a GPU that counts: one line for each step to standard output, every tenth to
// standard error too, and to a file if one is named. Its lines tell whether a dump and a restore
// lost or repeated anything.
//
//   counter LINES MICROSECONDS [--file PATH | --append PATH] [--children N] [--memfd] [--stdin]
//           [--burst BYTES] [--memory MIB] [--unix PATH]
//
// --children N  forks N processes that count along silently and are waited for at the end
// --memfd       keeps the count in a sealed, shared memfd as well and checks it at every step
// --stdin       reads one line before each step and repeats it ("got ..."); ends with the input
// --unix PATH   connects to a unix socket and keeps the connection
// --memory MIB  touches that much memory first, and checks it at the end
// --burst BYTES writes lines of this length, to fill a pipe that nobody reads
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void count_in_child(long lines, useconds_t pause) {
  if (fork() != 0) return;
  for (long i = 0; i < lines; ++i) usleep(pause);
  _exit(0);
}

static void connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) exit(6);
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

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  const long lines = atol(argv[1]);
  const useconds_t pause = (useconds_t)atol(argv[2]);
  int file = -1;
  int reads = 0;
  size_t width = 0;
  size_t filled = 0;
  unsigned char *memory = NULL;
  long *shared = NULL;
  for (int i = 3; i < argc; ++i) {
    if (strcmp(argv[i], "--file") == 0) file = open(argv[++i], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    else if (strcmp(argv[i], "--append") == 0) {
      file = open(argv[++i], O_WRONLY | O_CREAT | O_APPEND, 0644);
    } else if (strcmp(argv[i], "--children") == 0) {
      for (long n = atol(argv[++i]); n > 0; --n) count_in_child(lines, pause);
    } else if (strcmp(argv[i], "--memfd") == 0) {
      if ((shared = shared_count()) == NULL) return 4;
    } else if (strcmp(argv[i], "--stdin") == 0) reads = 1;
    else if (strcmp(argv[i], "--unix") == 0) connect_to(argv[++i]);
    else if (strcmp(argv[i], "--memory") == 0) {
      filled = (size_t)atol(argv[++i]) << 20;
      memory = fill(filled);
    } else if (strcmp(argv[i], "--burst") == 0) width = (size_t)atol(argv[++i]);
    else return 2;
  }
  char *line = calloc(1, 512 + width);
  for (long step = 0; step < lines; ++step) {
    int bytes = snprintf(line, 256, "line %ld", step);
    if (reads) {
      char got[128];
      if (fgets(got, sizeof got, stdin) == NULL) break;
      bytes = snprintf(line, 256, "got %.*s", (int)strcspn(got, "\n"), got);
    }
    while ((size_t)bytes < width) line[bytes++] = '.';
    line[bytes++] = '\n';
    write_all(1, line, (size_t)bytes);
    if (file >= 0) write_all(file, line, (size_t)bytes);
    if (step % 10 == 0) write_all(2, line, (size_t)bytes);
    if (shared != NULL && (*shared)++ != step) return 5;
    usleep(pause);
  }
  while (wait(NULL) > 0) {
  }
  if (!is_filled(memory, filled)) return 8;
  write_all(1, "done\n", 5);
  return 7;
}
