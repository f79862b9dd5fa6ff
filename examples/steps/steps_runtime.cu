// SPDX-License-Identifier: Apache-2.0
// The same work as steps.c, as an ordinary program over the CUDA runtime, with the kernels of
// steps.cu compiled in. Both print the same line for the same arguments. It needs nvcc:
//   nvcc -o steps_runtime steps_runtime.cu common.c sha256.c                   (static runtime)
//   nvcc -cudart shared -o steps_runtime steps_runtime.cu common.c sha256.c
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "common.h"
#include "sha256.h"
#include "steps.cu"

namespace {

void check(cudaError_t result, const char *what) {
  if (result == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s (%d): %s\n", what, cudaGetErrorName(result), result,
               cudaGetErrorString(result));
  std::exit(1);
}

#define CHECK(call) check((call), #call)

struct machine {
  unsigned *data;
  float *field;
  cudaStream_t work, side;
  cudaEvent_t begin, end, mixed, followed;
  unsigned words;

  unsigned *slice(unsigned index) const {
    return data + static_cast<size_t>(index % steps_slices) * words;
  }
};

void open_device(machine &m, const steps_options &options) {
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0));
  std::fprintf(stderr, "device: %s, %zu MiB\n", properties.name, properties.totalGlobalMem >> 20);
  CHECK(cudaStreamCreateWithFlags(&m.work, cudaStreamNonBlocking));
  CHECK(cudaStreamCreateWithFlags(&m.side, cudaStreamNonBlocking));
  CHECK(cudaEventCreate(&m.begin));
  CHECK(cudaEventCreate(&m.end));
  CHECK(cudaEventCreateWithFlags(&m.mixed, cudaEventDisableTiming));
  CHECK(cudaEventCreateWithFlags(&m.followed, cudaEventDisableTiming));

  m.words = steps_slice_words(&options);
  const unsigned long long count = static_cast<unsigned long long>(m.words) * steps_slices;
  CHECK(cudaMalloc(&m.data, count * 4));
  CHECK(cudaMalloc(&m.field, m.words * sizeof(float)));
  CHECK(cudaMemsetAsync(m.field, 0, m.words * sizeof(float), m.work));
  fill<<<1024, steps_block, 0, m.work>>>(m.data, count, options.seed);
  CHECK(cudaStreamSynchronize(m.work));
  CHECK(cudaEventRecord(m.begin, m.work));
}

// The runtime sets bytes, the driver words: a scratch made on the host gives the same memory.
void use_scratch(const machine &m, unsigned step) {
  unsigned *scratch;
  const size_t bytes = static_cast<size_t>(m.words) * 4;
  const std::vector<unsigned> host(m.words, step * 2654435761u);
  CHECK(cudaMalloc(&scratch, bytes));
  CHECK(cudaMemcpyAsync(scratch, host.data(), bytes, cudaMemcpyHostToDevice, m.work));
  CHECK(cudaMemcpyAsync(m.slice(step + 17), scratch, bytes / 2, cudaMemcpyDeviceToDevice, m.work));
  CHECK(cudaFree(scratch));
}

uint64_t do_step(const machine &m, const steps_options &options, unsigned step) {
  const unsigned blocks = (m.words + steps_block - 1) / steps_block;
  unsigned *in = m.slice(step);
  unsigned *out = m.slice(step + 1);
  if (step % steps_keys == 0) {
    uint32_t made[steps_keys];
    steps_make_keys(made, options.seed, step);
    CHECK(cudaMemcpyToSymbol(keys, made, sizeof made));
  }
  mix<<<blocks, steps_block, 0, m.work>>>(out, in, m.words, step, options.rounds);
  CHECK(cudaEventRecord(m.mixed, m.work));
  CHECK(cudaStreamWaitEvent(m.side, m.mixed, 0));
  follow<<<blocks, steps_block, 0, m.side>>>(m.field, out, m.words);
  CHECK(cudaEventRecord(m.followed, m.side));
  tally<<<blocks, steps_block, 0, m.work>>>(out, m.words);
  if (step % 20 == 7) use_scratch(m, step);
  if (step % 8 == 3) {
    CHECK(cudaMemcpyAsync(m.slice(step + 31), out, m.words, cudaMemcpyDeviceToDevice, m.work));
  }
  CHECK(cudaStreamWaitEvent(m.work, m.followed, 0));
  CHECK(cudaGetLastError());

  uint64_t sum = 0;
  CHECK(cudaStreamSynchronize(m.work));
  CHECK(cudaMemcpyFromSymbol(&sum, total, sizeof sum));
  return sum;
}

void print_result(const machine &m, uint64_t sum) {
  std::vector<unsigned> host(m.words);
  const size_t bytes = host.size() * 4;
  sha256 hash;
  char text[65];
  sha256_start(&hash);
  sha256_add(&hash, &sum, sizeof sum);
  for (unsigned i = 0; i <= steps_slices; ++i) {
    const void *from = i < steps_slices ? static_cast<void *>(m.slice(i)) : m.field;
    CHECK(cudaMemcpy(host.data(), from, bytes, cudaMemcpyDeviceToHost));
    sha256_add(&hash, host.data(), bytes);
  }
  sha256_end(&hash, text);
  std::printf("%s\n", text);
}

}  // namespace

int main(int argc, char **argv) {
  const double started = steps_now();
  const steps_options options = steps_parse(argc, argv);
  machine m{};
  steps_clock clock;
  float device_ms = 0;
  uint64_t sum = 0;
  open_device(m, options);
  steps_clock_first(&clock, started);
  for (unsigned step = 0; step < options.steps; ++step) {
    sum = do_step(m, options, step);
    steps_report(&clock, &options, step + 1, sum);
  }
  CHECK(cudaEventRecord(m.end, m.work));
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaEventElapsedTime(&device_ms, m.begin, m.end));
  print_result(m, sum);
  steps_summary(&clock, &options, device_ms);
  CHECK(cudaFree(m.field));
  CHECK(cudaFree(m.data));
  return 0;
}
