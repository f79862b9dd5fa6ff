/* SPDX-License-Identifier: Apache-2.0 */
/* Streams, events, host functions, threads. */
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "probe.h"

void test_streams(void) {
  CUstream stream = NULL;
  CUstream other = NULL;
  CUevent first = NULL;
  CUevent last = NULL;
  unsigned flags = 0;
  int priority = 9;
  float ms = -1;
  begin();
  OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  OK(cuStreamCreateWithPriority(&other, 0, -100));
  OK(cuStreamGetFlags(stream, &flags));
  CHECK(flags == CU_STREAM_NON_BLOCKING);
  OK(cuStreamGetPriority(other, &priority));
  CHECK(priority <= 0);
  OK(cuEventCreate(&first, 0));
  OK(cuEventCreate(&last, 0));
  OK(cuEventQuery(first));
  OK(cuEventRecord(first, stream));
  OK(cuStreamWaitEvent(other, first, 0));
  OK(cuEventRecord(last, other));
  OK(cuEventSynchronize(last));
  OK(cuEventElapsedTime(&ms, first, last));
  CHECK(ms >= 0);
  OK(cuStreamQuery(stream));
  OK(cuStreamQuery(NULL));
  OK(cuStreamSynchronize(other));
  OK(cuEventDestroy(first));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventDestroy(first));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(first, stream));
  OK(cuStreamDestroy(stream));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamQuery(stream));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamDestroy(stream));
  for (int i = 0; i < 3000; ++i) {
    OK(cuStreamCreate(&stream, 0));
    OK(cuEventRecord(last, stream));
    OK(cuStreamDestroy(stream));
  }
  OK(cuEventSynchronize(last));
}

void test_errors(void) {
  CUstream stream = NULL;
  CUevent event = (CUevent)(size_t)0x1234567;
  CUmodule module = NULL;
  CUfunction function = NULL;
  begin();
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(event, NULL));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize((CUstream)(size_t)0x7777));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamCreate(&stream, 0x100));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamCreate(NULL, 0));
  EXPECT(CUDA_ERROR_FILE_NOT_FOUND, cuModuleLoad(&module, "/nowhere/at/all.ptx"));
  CHECK(cuModuleLoadData(&module, "this is no image") != CUDA_SUCCESS);
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuModuleGetFunction(&function, (CUmodule)(size_t)64, "x"));
}

static int g_order[8];
static int g_count;
static void note(void *data) { g_order[g_count++] = (int)(size_t)data; }
static void note_status(CUstream stream, CUresult status, void *data) {
  (void)stream;
  CHECK(status == CUDA_SUCCESS);
  note(data);
}

void test_host_functions(void) {
  CUstream stream = NULL;
  CUdeviceptr memory = 0;
  unsigned char *pinned = NULL;
  begin();
  OK(cuStreamCreate(&stream, 0));
  OK(cuMemAlloc(&memory, 64));
  OK(cuMemAllocHost((void **)&pinned, 64));
  OK(cuLaunchHostFunc(stream, note, (void *)1));
  OK(cuMemsetD8Async(memory, 7, 64, stream));
  OK(cuMemcpyDtoHAsync(pinned, memory, 64, stream));
  OK(cuLaunchHostFunc(stream, note, (void *)2));
  OK(cuStreamAddCallback(stream, note_status, (void *)3, 0));
  OK(cuStreamSynchronize(stream));
  CHECK(g_count == 3 && g_order[0] == 1 && g_order[1] == 2 && g_order[2] == 3);
  CHECK(pinned[63] == 7);
}

static void *thread_main(void *argument) {
  const int number = (int)(size_t)argument;
  CUcontext context = NULL;
  CUstream stream = NULL;
  CUdeviceptr memory = 0;
  unsigned char bytes[3000];
  OK(cuCtxGetCurrent(&context));
  CHECK(context == NULL);
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
  OK(cuStreamCreate(&stream, 0));
  OK(cuMemAlloc(&memory, sizeof(bytes)));
  for (int i = 0; i < 200; ++i) {
    OK(cuMemsetD8Async(memory, (unsigned char)(number + i), sizeof(bytes), stream));
    OK(cuMemcpyDtoHAsync(bytes, memory, sizeof(bytes), stream));
    OK(cuStreamSynchronize(stream));
    CHECK(bytes[0] == (unsigned char)(number + i) && bytes[2999] == bytes[0]);
  }
  OK(cuMemFree(memory));
  OK(cuStreamDestroy(stream));
  return NULL;
}

void test_threads(void) {
  pthread_t threads[8];
  begin();
  for (int i = 0; i < 8; ++i) {
    CHECK(pthread_create(&threads[i], NULL, thread_main, (void *)(size_t)(i * 20)) == 0);
  }
  for (int i = 0; i < 8; ++i) pthread_join(threads[i], NULL);
}

static pthread_barrier_t g_barrier;

/* More threads than reply slots, all alive at once. */
static void *crowd_main(void *argument) {
  (void)argument;
  CUcontext context = NULL;
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
  OK(cuStreamQuery(NULL));
  pthread_barrier_wait(&g_barrier);
  OK(cuStreamSynchronize(NULL));
  return NULL;
}

void test_crowd(void) {
  enum { kThreads = 600 };
  static pthread_t threads[kThreads];
  pthread_attr_t attributes;
  begin();
  pthread_barrier_init(&g_barrier, NULL, kThreads);
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 << 10);
  for (int i = 0; i < kThreads; ++i) {
    CHECK(pthread_create(&threads[i], &attributes, crowd_main, NULL) == 0);
  }
  for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);
}

static void *per_thread_main(void *argument) {
  const CUdeviceptr memory = *(CUdeviceptr *)argument;
  CUcontext context = NULL;
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
  OK(cuMemsetD8Async(memory, 6, 16, CU_STREAM_PER_THREAD));
  OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
  return NULL;
}

void test_per_thread(void) {
  CUdeviceptr memory = 0;
  unsigned char bytes[16] = {0};
  pthread_t thread;
  begin();
  OK(cuMemAlloc(&memory, 16));
  for (int i = 0; i < 20; ++i) {
    OK(cuMemsetD8Async(memory, 0, 16, CU_STREAM_PER_THREAD));
    OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
    CHECK(pthread_create(&thread, NULL, per_thread_main, &memory) == 0);
    pthread_join(thread, NULL);
    OK(cuMemcpyDtoHAsync(bytes, memory, 16, CU_STREAM_PER_THREAD));
    CHECK(bytes[0] == 6 && bytes[15] == 6);
  }
}

void test_wait_for_death(void) {
  CUresult status = CUDA_SUCCESS;
  begin();
  CHECK(write(STDOUT_FILENO, "ready", 5) == 5);
  for (int i = 0; i < 3000 && status == CUDA_SUCCESS; ++i) {
    status = cuCtxSynchronize();
    usleep(10000);
  }
  EXPECT(CUDA_ERROR_DEVICE_UNAVAILABLE, status);
  EXPECT(CUDA_ERROR_DEVICE_UNAVAILABLE, cuCtxSynchronize());
}
