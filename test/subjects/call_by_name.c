/* SPDX-License-Identifier: Apache-2.0 */
/* Calls functions of the driver API by name, twice each, with nothing but zeros, and prints what
 * each answered. It looks them up as a program that has no libcuda.so at build time does.
 *
 *   call_by_name STOP_FILE NAME...
 *
 * stdout: "NAME FIRST SECOND" for each, then "ready"; it stays until STOP_FILE exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

typedef int (*function)(void *, void *, void *, void *, void *, void *);

int main(int argc, char **argv) {
  void *driver = dlopen("libcuda.so", RTLD_NOW);
  int (*init)(unsigned) = driver == NULL ? NULL : (int (*)(unsigned))dlsym(driver, "cuInit");
  if (argc < 2 || init == NULL) {
    fprintf(stderr, "no driver: %s\n", driver == NULL ? dlerror() : "it has no cuInit");
    return 2;
  }
  const int started = init(0);
  if (started != 0) {
    printf("cuInit %d\n", started);
    return 1;
  }
  for (int i = 2; i < argc; ++i) {
    function call = (function)dlsym(driver, argv[i]);
    if (call == NULL) return 3;
    const int first = call(0, 0, 0, 0, 0, 0);
    printf("%s %d %d\n", argv[i], first, call(0, 0, 0, 0, 0, 0));
  }
  printf("ready\n");
  fflush(stdout);
  while (access(argv[1], F_OK) != 0) usleep(2000);
  return 0;
}
