// SPDX-License-Identifier: Apache-2.0
// What cuGetProcAddress must answer: the highest ABI version that is not above the one asked for.
// The addresses are those of the real entries; the bodies behind them are stand-ins.
#include "gen/proc_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>

namespace {

constexpr std::uint64_t kLegacy = CU_GET_PROC_ADDRESS_LEGACY_STREAM;
constexpr std::uint64_t kPerThread = CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;

std::string symbol(const char* name, int version, std::uint64_t flags = 0) {
  const phos::ProcEntry* entry = phos::find_proc(name, version, flags);
  return entry == nullptr ? "" : entry->symbol;
}

TEST(ProcTable, GivesTheVersionThatWasAskedFor) {
  EXPECT_EQ(symbol("cuMemPrefetchAsync", 8000), "cuMemPrefetchAsync");
  EXPECT_EQ(symbol("cuMemPrefetchAsync", 12010), "cuMemPrefetchAsync");
  EXPECT_EQ(symbol("cuMemPrefetchAsync", 12020), "cuMemPrefetchAsync_v2");
  EXPECT_EQ(symbol("cuStreamBeginCapture", 10000), "cuStreamBeginCapture");
  EXPECT_EQ(symbol("cuStreamBeginCapture", 13000), "cuStreamBeginCapture_v2");
  EXPECT_EQ(symbol("cuEventElapsedTime", 2000), "cuEventElapsedTime");
  EXPECT_EQ(symbol("cuEventElapsedTime", 12080), "cuEventElapsedTime_v2");
  EXPECT_EQ(symbol("cuCtxGetDevice", 12000), "cuCtxGetDevice");
  EXPECT_EQ(symbol("cuCtxGetDevice", 13000), "cuCtxGetDevice_v2");
  EXPECT_EQ(symbol("cuGetProcAddress", 11030), "cuGetProcAddress");
  EXPECT_EQ(symbol("cuGetProcAddress", 12000), "cuGetProcAddress_v2");
  EXPECT_EQ(symbol("cuMemcpyBatchAsync", 12080), "cuMemcpyBatchAsync");
  EXPECT_EQ(symbol("cuMemcpyBatchAsync", 13000), "cuMemcpyBatchAsync_v2");
  EXPECT_EQ(symbol("cuStreamGetCaptureInfo", 12030), "cuStreamGetCaptureInfo_v3");
}

TEST(ProcTable, RanksAreNotSuffixes) {
  EXPECT_EQ(symbol("cuGraphInstantiate", 10000), "cuGraphInstantiate");
  EXPECT_EQ(symbol("cuGraphInstantiate", 13000), "cuGraphInstantiate_v2");
  EXPECT_EQ(symbol("cuTexRefSetAddress2D", 4010), "cuTexRefSetAddress2D_v3");
  EXPECT_EQ(symbol("cuMemcpyDtoDAsync", 3000), "cuMemcpyDtoDAsync");
}

TEST(ProcTable, PerThreadVariants) {
  EXPECT_EQ(symbol("cuStreamQuery", 7000, kPerThread), "cuStreamQuery_ptsz");
  EXPECT_EQ(symbol("cuStreamQuery", 7000, kLegacy), "cuStreamQuery");
  EXPECT_EQ(symbol("cuMemcpyHtoD", 13000, kPerThread), "cuMemcpyHtoD_v2_ptds");
  // A name that has no such variant is the same for both kinds of program.
  EXPECT_EQ(symbol("cuMemAlloc", 13000, kPerThread), "cuMemAlloc_v2");
  // Before per-thread streams there was nothing to give.
  EXPECT_EQ(phos::look_up_proc("cuMemcpyHtoD", 3020, kPerThread).status,
            CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
}

TEST(ProcTable, SaysWhyThereIsNone) {
  const auto status = [](const char* name, int version) {
    return phos::look_up_proc(name, version, 0).status;
  };
  EXPECT_EQ(status("cuInit", 13000), CU_GET_PROC_ADDRESS_SUCCESS);
  EXPECT_EQ(status("cuInit", 1000), CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
  EXPECT_EQ(status("cuLibraryLoadData", 11080), CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
  for (const char* name : {"", "cuMemAlloc_v2", "cuGLInit", "cuProfilerStart"}) {
    EXPECT_EQ(status(name, 13000), CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND) << name;
  }
}

TEST(ProcTable, AnswersEveryRequestOfTheRuntimeButThoseOfGraphicsAndProfiler) {
  std::ifstream requests(PHOS_FIXTURES "/cudart_13_0_requests.txt");
  int answered = 0;
  int refused = 0;
  for (std::string line; std::getline(requests, line);) {
    const std::size_t at = line.find('@');
    if (line.starts_with('#') || at == std::string::npos) continue;
    const std::string name = line.substr(0, at);
    const std::uint64_t flags = line.ends_with("/2") ? kPerThread : 0;
    const auto found = phos::look_up_proc(name.c_str(), std::stoi(line.substr(at + 1)), flags);
    const bool foreign = name.find("GL") != std::string::npos ||
                         name.find("VDPAU") != std::string::npos ||
                         name.find("Egl") != std::string::npos ||
                         name.find("Profiler") != std::string::npos;
    EXPECT_EQ(found.status, foreign ? CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND
                                    : CU_GET_PROC_ADDRESS_SUCCESS)
        << line;
    ++(foreign ? refused : answered);
  }
  EXPECT_EQ(answered, 407);
  EXPECT_EQ(refused, 32);
}

TEST(ProcTable, EveryEntryHasAnAddressOfItsOwnSymbol) {
  EXPECT_EQ(phos::proc_entries().size(), phos::kProcEntries);
  for (const phos::ProcEntry& entry : phos::proc_entries()) {
    EXPECT_NE(entry.address, nullptr) << entry.symbol;
    const phos::ProcEntry* found =
        phos::find_proc(entry.name, entry.since, entry.per_thread ? kPerThread : kLegacy);
    ASSERT_NE(found, nullptr) << entry.symbol;
    EXPECT_STREQ(found->symbol, entry.symbol);
  }
}

}  // namespace
