/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts, devices, how functions are found. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

void test_context(void) {
  CUcontext context = NULL;
  CUcontext primary = NULL;
  CUcontext made = NULL;
  unsigned flags = 99;
  int active = 99;
  CUdevice device = 99;
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuCtxGetCurrent(&context));
  OK(cuInit(0));
  OK(cuInit(0));
  OK(cuCtxGetCurrent(&context));
  CHECK(context == NULL);
  OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
  CHECK(active == 0);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxPopCurrent(&context));
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSynchronize());
  OK(cuDevicePrimaryCtxRetain(&primary, 0));
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  CHECK(context == primary);
  OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
  CHECK(active == 1);
  OK(cuCtxSetCurrent(primary));
  OK(cuCtxGetDevice(&device));
  CHECK(device == 0);
  OK(cuCtxCreate(&made, NULL, 0, 0));
  OK(cuCtxGetCurrent(&context));
  CHECK(context == made);
  OK(cuCtxDestroy(made));
  OK(cuCtxGetCurrent(&context));
  CHECK(context == primary);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSetCurrent(made));
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxDestroy(primary));
  OK(cuCtxSynchronize());
  CUdeviceptr memory = 0;
  OK(cuMemAlloc(&memory, 1000));
  OK(cuDevicePrimaryCtxRelease(0));
  OK(cuDevicePrimaryCtxRelease(0));
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuDevicePrimaryCtxRelease(0));
  EXPECT(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuMemAlloc(&memory, 1000));
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuMemAlloc(&memory, 1000));
  EXPECT(CUDA_ERROR_INVALID_DEVICE, cuDevicePrimaryCtxRetain(&context, 77));
}

void test_device(void) {
  int count = 0;
  char name[64] = "";
  char bus[16] = "";
  CUuuid uuid;
  size_t total = 0;
  int value = 0;
  CUdevice device = 0;
  OK(cuInit(0));
  OK(cuDeviceGetCount(&count));
  CHECK(count == 1);
  OK(cuDeviceGetName(name, sizeof(name), 0));
  CHECK(name[0] != 0);
  OK(cuDeviceGetUuid(&uuid, 0));
  OK(cuDeviceTotalMem(&total, 0));
  CHECK(total > (1U << 20));
  OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0));
  CHECK(value == 32);
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuDeviceGetAttribute(&value, (CUdevice_attribute)100000, 0));
  EXPECT(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&device, 5));
  OK(cuDeviceGetPCIBusId(bus, sizeof(bus), 0));
  OK(cuDeviceGetByPCIBusId(&device, bus));
  CHECK(device == 0);
  const char *text = NULL;
  OK(cuGetErrorName(CUDA_ERROR_OUT_OF_MEMORY, &text));
  CHECK(strcmp(text, "CUDA_ERROR_OUT_OF_MEMORY") == 0);
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuGetErrorString((CUresult)12345, &text));
}

void test_fork(void) {
  begin();
  CUdeviceptr memory = 0;
  OK(cuMemAlloc(&memory, 64));
  const pid_t child = fork();
  if (child == 0) {
    CUcontext context = NULL;
    EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuMemAlloc(&memory, 64));
    EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuInit(0));
    EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuCtxGetCurrent(&context));
    _exit(0);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  OK(cuMemFree(memory));
  OK(cuCtxSynchronize());
}

void test_fork_before(void) {
  const pid_t child = fork();
  if (child == 0) {
    begin();
    OK(cuCtxSynchronize());
    _exit(0);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

void test_lookup(void) {
  void *function = NULL;
  CUdriverProcAddressQueryResult found;
  Dl_info own;
  Dl_info other;
  CHECK(dladdr((void *)(size_t)&cuInit, &own) != 0);
  const char *names[] = {"libcuda.so", "libcuda.so.1", "/usr/lib/nowhere/libcuda.so.1",
                         "/opt/driver/libcuda.so"};
  for (int i = 0; i < 4; ++i) {
    void *library = dlopen(names[i], RTLD_NOW);
    CHECK(library != NULL);
    void *init = dlsym(library, "cuInit");
    CHECK(init != NULL && dladdr(init, &other) != 0);
    CHECK(other.dli_fbase == own.dli_fbase);
  }
  CHECK(dlopen("libcuda-is-not-this.so", RTLD_NOW) == NULL);
  CHECK(dlopen("libm.so.6", RTLD_NOW) != NULL);
  /* The management library must be the one beside ours, whatever path was asked for. */
  void *management = dlopen("/usr/lib/libnvidia-ml.so.1", RTLD_NOW);
  void *nvml_init = management == NULL ? NULL : dlsym(management, "nvmlInit_v2");
  CHECK(nvml_init != NULL && dladdr(nvml_init, &other) != 0);
  const char *folder_end = strrchr(own.dli_fname, '/');
  CHECK(folder_end != NULL);
  const size_t folder = (size_t)(folder_end - own.dli_fname) + 1;
  CHECK(strncmp(own.dli_fname, other.dli_fname, folder) == 0);
  OK(cuGetProcAddress("cuMemAlloc", &function, 13000, 0, &found));
  CHECK(function == dlsym(RTLD_DEFAULT, "cuMemAlloc_v2"));
  OK(cuGetProcAddress("cuMemcpyHtoD", &function, 13000, 2, &found));
  CHECK(function == dlsym(RTLD_DEFAULT, "cuMemcpyHtoD_v2_ptds"));
  EXPECT(CUDA_ERROR_NOT_FOUND, cuGetProcAddress("cuNoSuchThing", &function, 13000, 0, &found));
  CHECK(found == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND && function == NULL);
  EXPECT(CUDA_ERROR_NOT_FOUND, cuGetProcAddress("cuMemAllocAsync", &function, 10000, 0, &found));
  CHECK(found == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
}
