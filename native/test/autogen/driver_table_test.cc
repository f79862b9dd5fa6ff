// SPDX-License-Identifier: Apache-2.0
#include "gen/driver_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "gen/handle_types.h"
#include "gen/value_checks.h"

namespace {

using phos::CallId;
using phos::DriverSymbol;
using phos::DriverTable;

CUresult fake_init(unsigned int flags) { return flags == 7 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN; }

TEST(DriverTable, AnUnsupportedSlotSaysSoAndIsReportedOnce) {
  DriverTable table{};
  phos::fill_unsupported(table);
  EXPECT_EQ(table.size, sizeof(DriverTable));
  std::vector<std::string> names;
  phos::set_unsupported_reporter(
      [](void* user, CallId id) {
        static_cast<std::vector<std::string>*>(user)->emplace_back(phos::call_name(id));
      },
      &names);
  EXPECT_EQ(table.cuInit(0), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(table.cuInit(0), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(table.cuCtxSynchronize(nullptr), CUDA_ERROR_NOT_SUPPORTED);
  phos::set_unsupported_reporter(nullptr, nullptr);
  EXPECT_EQ(table.cuMemFree(0), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(names, (std::vector<std::string>{"cuInit", "cuCtxSynchronize"}));
}

TEST(DriverTable, NoSlotIsLeftNull) {
  DriverTable table{};
  phos::fill_unsupported(table);
  const auto* const bytes = reinterpret_cast<const char*>(&table);
  EXPECT_EQ(phos::driver_symbols().size() + 1, sizeof(DriverTable) / sizeof(void*));
  for (const DriverSymbol& symbol : phos::driver_symbols()) {
    void* slot = nullptr;
    std::memcpy(&slot, bytes + symbol.offset, sizeof(slot));
    EXPECT_NE(slot, nullptr) << symbol.name;
  }
}

TEST(DriverTable, LoadsWhatTheResolverHasAndLeavesTheRest) {
  DriverTable table{};
  phos::fill_unsupported(table);
  const auto resolve = [](void*, const DriverSymbol& symbol) -> void* {
    if (std::strcmp(symbol.name, "cuInit") != 0) return nullptr;
    return reinterpret_cast<void*>(&fake_init);
  };
  EXPECT_EQ(phos::load_driver_table(table, resolve, nullptr), 1U);
  EXPECT_EQ(table.cuInit(7), CUDA_SUCCESS);
  EXPECT_EQ(table.cuMemFree(0), CUDA_ERROR_NOT_SUPPORTED);
}

TEST(DriverTable, NamesTheNewestAbi) {
  for (const DriverSymbol& symbol : phos::driver_symbols()) {
    if (symbol.id == CallId::cuMemAlloc) {
      EXPECT_STREQ(symbol.symbol, "cuMemAlloc_v2");
      EXPECT_EQ(symbol.since, 3020);
    }
    if (symbol.id == CallId::cuCtxSynchronize) {
      EXPECT_EQ(symbol.since, 13000);
    }
  }
}

TEST(CallIds, IdsAndNamesLeadToEachOther) {
  EXPECT_STREQ(phos::call_name(CallId::cuMemAlloc), "cuMemAlloc");
  EXPECT_EQ(phos::find_call("cuMemAlloc"), CallId::cuMemAlloc);
  EXPECT_EQ(phos::find_call("cuMemAlloc_v2"), CallId::none);
  EXPECT_STREQ(phos::call_name(CallId::none), "?");
  EXPECT_STREQ(phos::call_name(static_cast<CallId>(0x3FF)), "?");
  EXPECT_FALSE(phos::is_call(0xFFFF));
  EXPECT_EQ(phos::call_class(CallId::cuEventRecord), phos::CallClass::async);
  EXPECT_EQ(phos::call_semantics(CallId::cuEventCreate), phos::CallSemantics::create);
  EXPECT_STREQ(phos::handle_type_name(phos::HandleType::stream), "stream");
  EXPECT_TRUE(phos::is_device_visible(phos::HandleType::texture));
}

TEST(ValueChecks, KnowEnumeratorsAndSizes) {
  EXPECT_TRUE(phos::check::is_CUlimit(CU_LIMIT_STACK_SIZE));
  EXPECT_FALSE(phos::check::is_CUlimit(4711));
  EXPECT_FALSE(phos::check::is_CUlimit(-1));
  EXPECT_EQ(phos::value_size::mem_pool_attribute(CU_MEMPOOL_ATTR_RELEASE_THRESHOLD), 8U);
  EXPECT_EQ(phos::value_size::mem_pool_attribute(static_cast<CUmemPool_attribute>(15)), 0U);
}

}  // namespace
