// SPDX-License-Identifier: Apache-2.0
// Preloaded into a process, writes down every call that changes what lies under the folder
// PHOS_RECORD_UNDER, in order, into the file PHOS_RECORD: a line `op path offset bytes`, then the
// bytes. Paths are relative to the folder; a rename has `path>path`. For the crash test, which
// replays the list up to any point.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t g_mutex = PTHREAD_MUTEX_INITIALIZER;
static int g_log = -1;

#define REAL(name, ...) (__extension__(__VA_ARGS__) dlsym(RTLD_NEXT, #name))

static const char* under(void) { return getenv("PHOS_RECORD_UNDER"); }

// The path relative to the folder; NULL when it lies elsewhere.
static const char* relative(const char* path) {
  const char* folder = under();
  if (folder == NULL || path == NULL) return NULL;
  const size_t length = strlen(folder);
  if (strncmp(path, folder, length) != 0 || path[length] != '/') return NULL;
  return path + length + 1;
}

static const char* path_of(int fd, char* buffer, size_t size) {
  char link[64];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, buffer, size - 1);
  if (length <= 0) return NULL;
  buffer[length] = '\0';
  return relative(buffer);
}

static void record(const char* op, const char* path, const char* to, long long offset,
                   const void* data, size_t bytes) {
  if (path == NULL) return;
  char line[2 * PATH_MAX + 64];
  const int length = snprintf(line, sizeof(line), "%s %s%s%s %lld %zu\n", op, path,
                              to == NULL ? "" : ">", to == NULL ? "" : to, offset, bytes);
  const struct iovec parts[2] = {{line, (size_t)length}, {(void*)data, bytes}};
  pthread_mutex_lock(&g_mutex);
  if (g_log < 0) {
    const char* log = getenv("PHOS_RECORD");
    if (log != NULL) {
      g_log = REAL(open, int (*)(const char*, int, ...))(
          log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
  }
  if (g_log >= 0 && REAL(writev, ssize_t (*)(int, const struct iovec*, int))(g_log, parts, 2) !=
                        (ssize_t)((size_t)length + bytes)) {
    abort();
  }
  pthread_mutex_unlock(&g_mutex);
}

static int opened(int fd, const char* path, int flags) {
  if (fd >= 0 && (flags & O_CREAT) != 0) record("create", relative(path), NULL, 0, NULL, 0);
  return fd;
}

#define OPEN(name)                                                            \
  int name(const char* path, int flags, ...) {                                \
    mode_t mode = 0;                                                          \
    if ((flags & O_CREAT) != 0) {                                             \
      va_list rest;                                                           \
      va_start(rest, flags);                                                  \
      mode = va_arg(rest, mode_t);                                            \
      va_end(rest);                                                           \
    }                                                                         \
    return opened(REAL(name, int (*)(const char*, int, ...))(path, flags, mode), path, flags); \
  }
OPEN(open)
OPEN(open64)

static void wrote(int fd, const void* data, ssize_t bytes, long long offset) {
  char buffer[PATH_MAX];
  if (bytes > 0) record("write", path_of(fd, buffer, sizeof(buffer)), NULL, offset, data,
                        (size_t)bytes);
}

ssize_t write(int fd, const void* data, size_t bytes) {
  const int saved = errno;
  const long long at = lseek(fd, 0, SEEK_CUR);
  errno = saved;
  const ssize_t done = REAL(write, ssize_t (*)(int, const void*, size_t))(fd, data, bytes);
  wrote(fd, data, done, at);
  return done;
}

ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) {
  const ssize_t done =
      REAL(pwrite, ssize_t (*)(int, const void*, size_t, off_t))(fd, data, bytes, offset);
  wrote(fd, data, done, offset);
  return done;
}

ssize_t pwrite64(int fd, const void* data, size_t bytes, off64_t offset) {
  const ssize_t done =
      REAL(pwrite64, ssize_t (*)(int, const void*, size_t, off64_t))(fd, data, bytes, offset);
  wrote(fd, data, done, offset);
  return done;
}

// libuv's way to write one buffer may be a vector of one.
ssize_t writev(int fd, const struct iovec* parts, int count) {
  const long long at = lseek(fd, 0, SEEK_CUR);
  const ssize_t done = REAL(writev, ssize_t (*)(int, const struct iovec*, int))(fd, parts, count);
  if (count == 1) wrote(fd, parts[0].iov_base, done, at);
  return done;
}

#define SYNC(name)                                              \
  int name(int fd) {                                            \
    const int result = REAL(name, int (*)(int))(fd);            \
    char buffer[PATH_MAX];                                      \
    if (result == 0) record("sync", path_of(fd, buffer, sizeof(buffer)), NULL, 0, NULL, 0); \
    return result;                                              \
  }
SYNC(fsync)
SYNC(fdatasync)

int mkdir(const char* path, mode_t mode) {
  const int result = REAL(mkdir, int (*)(const char*, mode_t))(path, mode);
  if (result == 0) record("mkdir", relative(path), NULL, 0, NULL, 0);
  return result;
}

int rename(const char* from, const char* to) {
  const int result = REAL(rename, int (*)(const char*, const char*))(from, to);
  if (result == 0) record("rename", relative(from), relative(to), 0, NULL, 0);
  return result;
}

int unlink(const char* path) {
  const int result = REAL(unlink, int (*)(const char*))(path);
  if (result == 0) record("unlink", relative(path), NULL, 0, NULL, 0);
  return result;
}
