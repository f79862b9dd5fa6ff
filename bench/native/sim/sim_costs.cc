// SPDX-License-Identifier: Apache-2.0
// What kernels cost on the device that is linked as libcuda.so.1, beside the same work as plain C++
// on one core, turn by turn:
//
//   sim_costs KERNELS.PTX [--smoke]
//
// Prints one JSON object on stdout; times are medians. Every result is compared with that of plain
// C++; a wrong one ends the program with 1.
#define PHOS_CUDA_SOURCE_NAMES
#include <phos/cuda_abi.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "plain.h"

namespace phos::bench {
namespace {

constexpr int kEdge = 256;
constexpr int kCount = 1 << 20;
constexpr unsigned kReduceBlocks = 64;
constexpr unsigned kThreads = 256;
constexpr int kBatch = 500;
constexpr double kMegabyte = 1e6;

void check(CUresult result, const char* what) {
  if (result != CUDA_SUCCESS) {
    const char* name = nullptr;
    cuGetErrorName(result, &name);
    std::fprintf(stderr, "sim_costs: %s: %s (%d)\n", what, name != nullptr ? name : "?",
                 static_cast<int>(result));
    std::exit(1);
  }
}

void require(bool right, const char* what) {
  if (!right) {
    std::fprintf(stderr, "sim_costs: %s computed something else than plain C++\n", what);
    std::exit(1);
  }
}

double now_ms() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(since).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Small integers: sums of them are exact in any order.
std::vector<float> numbers(std::size_t count, unsigned seed) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<float>(seed >> 29);
  }
  return values;
}

struct Buffer {
  CUdeviceptr address = 0;
  std::size_t bytes = 0;

  explicit Buffer(const std::vector<float>& values) : bytes(values.size() * sizeof(float)) {
    check(cuMemAlloc(&address, bytes), "cuMemAlloc");
    check(cuMemcpyHtoD(address, values.data(), bytes), "cuMemcpyHtoD");
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { cuMemFree(address); }
  std::vector<float> read() const {
    std::vector<float> values(bytes / sizeof(float));
    check(cuMemcpyDtoH(values.data(), address, bytes), "cuMemcpyDtoH");
    return values;
  }
};

struct Launch {
  CUfunction function = nullptr;
  unsigned grid_x = 1;
  unsigned grid_y = 1;
  unsigned block_x = 32;
  unsigned block_y = 1;
  std::vector<void*> parameters;

  void start() const {
    check(cuLaunchKernel(function, grid_x, grid_y, 1, block_x, block_y, 1, 0, nullptr,
                         const_cast<void**>(parameters.data()), nullptr), "cuLaunchKernel");
  }
};

// Medians of sim and of plain C++, one after the other each time.
template <class Plain>
void race(const char* name, const Launch& launch, int rounds, Plain plain) {
  std::vector<double> sim_ms;
  std::vector<double> plain_ms;
  for (int round = -1; round < rounds; ++round) {  // the first warms up
    const double start = now_ms();
    launch.start();
    check(cuCtxSynchronize(), "cuCtxSynchronize");
    const double between = now_ms();
    plain();
    if (round >= 0) {
      sim_ms.push_back(between - start);
      plain_ms.push_back(now_ms() - between);
    }
  }
  std::printf("\"%s_sim_ms\":%.4f,\"%s_plain_ms\":%.4f,", name, median(sim_ms), name,
              median(plain_ms));
}

CUfunction function_of(CUmodule module, const char* name) {
  CUfunction function = nullptr;
  check(cuModuleGetFunction(&function, module, name), name);
  return function;
}

void sgemm(CUmodule module, int rounds) {
  int edge = kEdge;
  const std::size_t count = std::size_t{kEdge} * kEdge;
  const std::vector<float> a = numbers(count, 1);
  const std::vector<float> b = numbers(count, 2);
  std::vector<float> expected(count);
  Buffer da(a);
  Buffer db(b);
  Buffer dc(expected);
  const Launch launch{function_of(module, "sgemm"), kEdge / 16, kEdge / 16, 16, 16,
                      {&da.address, &db.address, &dc.address, &edge}};
  race("sgemm256", launch, rounds,
       [&] { plain_sgemm(a.data(), b.data(), expected.data(), edge); });
  require(dc.read() == expected, "sgemm");
}

void reduce(CUmodule module, int rounds) {
  int count = kCount;
  const std::vector<float> in = numbers(kCount, 3);
  float expected = 0;
  Buffer din(in);
  Buffer dout{std::vector<float>(kReduceBlocks)};
  const Launch launch{function_of(module, "reduce"), kReduceBlocks, 1, kThreads, 1,
                      {&din.address, &dout.address, &count}};
  race("shuffle_reduction", launch, rounds, [&] { expected = plain_reduce(in.data(), count); });
  float sum = 0;
  for (const float part : dout.read()) {
    sum += part;
  }
  require(sum == expected, "reduce");
}

void vectoradd(CUmodule module, int rounds) {
  int count = kCount;
  const std::vector<float> a = numbers(kCount, 4);
  const std::vector<float> b = numbers(kCount, 5);
  std::vector<float> expected(kCount);
  Buffer da(a);
  Buffer db(b);
  Buffer dc(expected);
  const Launch launch{function_of(module, "vectoradd"), kCount / kThreads, 1, kThreads, 1,
                      {&da.address, &db.address, &dc.address, &count}};
  race("vectoradd", launch, rounds,
       [&] { plain_vectoradd(a.data(), b.data(), expected.data(), count); });
  require(dc.read() == expected, "vectoradd");
}

// One block of 32 threads that do nothing: with the wait for all shared out among many, and alone.
void launches(CUmodule module, int rounds) {
  const Launch launch{function_of(module, "nothing"), 1, 1, 32, 1, {}};
  std::vector<double> many;
  std::vector<double> alone;
  for (int round = 0; round < rounds; ++round) {
    double start = now_ms();
    for (int i = 0; i < kBatch; ++i) {
      launch.start();
    }
    check(cuCtxSynchronize(), "cuCtxSynchronize");
    many.push_back((now_ms() - start) / kBatch * 1e6);
    start = now_ms();
    launch.start();
    check(cuCtxSynchronize(), "cuCtxSynchronize");
    alone.push_back((now_ms() - start) * 1e6);
  }
  std::printf("\"launch_ns\":%.1f,\"launch_sync_ns\":%.1f,", median(many), median(alone));
}

void replace_all(std::string& text, std::string_view what, const std::string& by) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

// The kernels again and again under other names, until there is a megabyte of them.
std::string megabyte_of(const std::string& ptx) {
  const std::string size = ".address_size 64";
  const std::size_t body = ptx.find(size) + size.size();
  std::string text = ptx.substr(0, body);
  for (int copy = 0; static_cast<double>(text.size()) < kMegabyte; ++copy) {
    std::string part = ptx.substr(body);
    for (const char* name : {"nothing", "sgemm", "reduce", "vectoradd", "mixture", "__internal_",
                             "__cudart_"}) {
      replace_all(part, name, name + std::to_string(copy) + "_");
    }
    text += part;
  }
  return text;
}

void loads(const std::string& ptx, int rounds) {
  const std::string text = megabyte_of(ptx);
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    CUmodule module = nullptr;
    const double start = now_ms();
    check(cuModuleLoadData(&module, text.c_str()), "cuModuleLoadData");
    times.push_back((now_ms() - start) / (static_cast<double>(text.size()) / kMegabyte));
    check(cuModuleUnload(module), "cuModuleUnload");
  }
  std::printf("\"module_load_ms_per_mb\":%.2f", median(times));
}

int run(const char* path, bool smoke) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  const std::string ptx = content.str();
  if (ptx.empty()) {
    std::fprintf(stderr, "sim_costs: %s cannot be read\n", path);
    return 1;
  }
  CUdevice device = 0;
  CUcontext context = nullptr;
  CUmodule module = nullptr;
  check(cuInit(0), "cuInit");
  check(cuDeviceGet(&device, 0), "cuDeviceGet");
  check(cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
  check(cuCtxSetCurrent(context), "cuCtxSetCurrent");
  check(cuModuleLoadData(&module, ptx.c_str()), "cuModuleLoadData");
  std::printf("{");
  sgemm(module, smoke ? 1 : 15);
  reduce(module, smoke ? 1 : 101);
  vectoradd(module, smoke ? 1 : 101);
  launches(module, smoke ? 1 : 101);
  loads(ptx, smoke ? 1 : 9);
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace phos::bench

int main(int argc, char** argv) {
  const bool smoke = argc == 3 && std::strcmp(argv[2], "--smoke") == 0;
  if (argc != 2 && !smoke) {
    std::fprintf(stderr, "usage: sim_costs KERNELS.PTX [--smoke]\n");
    return 2;
  }
  return phos::bench::run(argv[1], smoke);
}
