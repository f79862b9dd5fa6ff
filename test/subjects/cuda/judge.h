// SPDX-License-Identifier: Apache-2.0
// What the programs of this folder share. Each holds named tests: `PROGRAM list` names them,
// `PROGRAM NAME...` runs some, `PROGRAM` all. A line `ok NAME` or `FAIL NAME` for each; the exit
// code is the number of those that failed.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

struct Wrong {};

using TestFunction = void (*)();
struct Test {
  const char* name;
  TestFunction run;
};
inline std::vector<Test>& all_tests() {
  static std::vector<Test> tests;
  return tests;
}
struct Registered {
  Registered(const char* name, TestFunction run) { all_tests().push_back({name, run}); }
};

#define TEST(name)                                     \
  static void name();                                  \
  static const Registered registered_##name(#name, name); \
  static void name()

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
      throw Wrong{};                                                                  \
    }                                                                                 \
  } while (0)
#define CHECK_AT(i, condition)                                                        \
  do {                                                                                \
    if (!(condition)) {                                                               \
      std::fprintf(stderr, "%s:%d: not so at %d: %s\n", __FILE__, __LINE__,           \
                   static_cast<int>(i), #condition);                                  \
      throw Wrong{};                                                                  \
    }                                                                                 \
  } while (0)
#define EXPECT(wanted, call)                                                          \
  do {                                                                                \
    const auto got_ = (call);                                                         \
    if (got_ != (wanted)) {                                                           \
      std::fprintf(stderr, "%s:%d: %s answered %d\n", __FILE__, __LINE__, #call,      \
                   static_cast<int>(got_));                                           \
      throw Wrong{};                                                                  \
    }                                                                                 \
  } while (0)
#define OK(call) EXPECT(cudaSuccess, call)
#define DRV(call) EXPECT(CUDA_SUCCESS, call)

// Device memory of a number of elements, zero-filled, freed at the end of the scope.
template <class T>
struct Device {
  T* at = nullptr;
  size_t count;
  explicit Device(size_t n) : count(n) {
    OK(cudaMalloc(&at, n * sizeof(T)));
    OK(cudaMemset(at, 0, n * sizeof(T)));
  }
  explicit Device(const std::vector<T>& from) : Device(from.size()) {
    OK(cudaMemcpy(at, from.data(), count * sizeof(T), cudaMemcpyHostToDevice));
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device() { cudaFree(at); }
  std::vector<T> read() const {
    std::vector<T> host(count);
    OK(cudaMemcpy(host.data(), at, count * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }
};

inline int run_test(const Test& test) {
  bool passed = true;
  try {
    test.run();
  } catch (const Wrong&) {
    passed = false;
  }
  if (passed && cudaDeviceSynchronize() != cudaSuccess) {
    std::fprintf(stderr, "%s left the device with an error\n", test.name);
    passed = false;
  }
  cudaGetLastError();
  std::printf("%s %s\n", passed ? "ok" : "FAIL", test.name);
  std::fflush(stdout);
  return passed ? 0 : 1;
}

int main(int argc, char** argv) {
  int failed = 0;
  if (argc == 2 && std::strcmp(argv[1], "list") == 0) {
    for (const Test& test : all_tests()) std::printf("%s\n", test.name);
    return 0;
  }
  for (const Test& test : all_tests()) {
    bool wanted = argc == 1;
    for (int i = 1; i < argc; ++i) wanted = wanted || std::strcmp(argv[i], test.name) == 0;
    if (wanted) failed += run_test(test);
  }
  return failed;
}
