// SPDX-License-Identifier: Apache-2.0
#include "cudart-tables/tables.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace phos::cudart_tables {
namespace {

const CUcontext kContext = reinterpret_cast<CUcontext>(std::uintptr_t{0x1000});
const CUcontext kPrimary = reinterpret_cast<CUcontext>(std::uintptr_t{0x2000});
CUcontext g_current = kContext;
std::vector<std::string> g_lines;

Host test_host() {
  Host host{};
  host.current_context = [](CUcontext* context) {
    *context = g_current;
    return CUDA_SUCCESS;
  };
  host.primary_context = [](CUcontext* context, CUdevice) {
    *context = kPrimary;
    return CUDA_SUCCESS;
  };
  host.driver_version = [] { return 13000; };
  host.device_count = [] { return 1; };
  host.identity = [](int, DeviceIdentity* identity) {
    *identity = {{1, 2, 3}, 0, 0x21, 0};
    return true;
  };
  host.log = [](const char* line) { g_lines.emplace_back(line); };
  host.complain = host.log;
  return host;
}

class Tables : public testing::Test {
 protected:
  void SetUp() override {
    g_current = kContext;
    g_lines.clear();
    set_host(test_host());
  }
  // Finds a table by the hexadecimal digits of its UUID.
  static CUresult find(const char* hex, const void* const** table) {
    CUuuid id{};
    for (std::size_t i = 0; i < 16; ++i) {
      id.bytes[i] = static_cast<char>(std::stoi(std::string(hex + 2 * i, 2), nullptr, 16));
    }
    const void* found = nullptr;
    const CUresult status = find_table(&id, &found);
    *table = static_cast<const void* const*>(found);
    return status;
  }
  template <class Function>
  static Function* entry(const void* const* table, std::size_t slot) {
    return reinterpret_cast<Function*>(const_cast<void*>(table[slot]));
  }
};

TEST_F(Tables, OpenWithTheirSizeAndNeverMove) {
  const void* const* first = nullptr;
  const void* const* second = nullptr;
  ASSERT_EQ(CUDA_SUCCESS, find("6BD5FB6C5BF4E74A8987D93912FD9DF9", &first));
  ASSERT_EQ(CUDA_SUCCESS, find("6BD5FB6C5BF4E74A8987D93912FD9DF9", &second));
  EXPECT_EQ(first, second);
  EXPECT_EQ(13U * 8U, reinterpret_cast<std::uintptr_t>(first[0]));
  CUcontext context = nullptr;
  EXPECT_EQ(CUDA_SUCCESS, (entry<CUresult(CUcontext*, CUdevice)>(first, 2)(&context, 0)));
  EXPECT_EQ(kPrimary, context);
}

TEST_F(Tables, AnUnknownUuidIsRefusedAndToldOnce) {
  const void* const* table = nullptr;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(CUDA_ERROR_INVALID_VALUE, find("F8CFF95121468B4EB9E2FB469E7C0DD9", &table));
    EXPECT_EQ(nullptr, table);
  }
  EXPECT_EQ(1U, g_lines.size());
}

TEST_F(Tables, AnUnknownEntryAnswersNotSupportedAndIsToldOnce) {
  const void* const* table = nullptr;
  ASSERT_EQ(CUDA_SUCCESS, find("1734DC26000000000000000000000000", &table));
  EXPECT_EQ(17U * 8U, reinterpret_cast<std::uintptr_t>(table[0]));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(CUDA_ERROR_NOT_SUPPORTED, (entry<CUresult()>(table, 4)()));
  }
  ASSERT_EQ(1U, g_lines.size());
  EXPECT_NE(std::string::npos, g_lines[0].find("1734DC26"));
}

int g_destroyed = 0;

TEST_F(Tables, StorageBelongsToItsContextAndIsDestroyedWithIt) {
  const void* const* table = nullptr;
  ASSERT_EQ(CUDA_SUCCESS, find("C693336E1121DF11A8C368F355D89593", &table));
  using Destroy = void(CUcontext, void*, void*);
  auto* put = entry<CUresult(CUcontext, void*, void*, Destroy*)>(table, 0);
  auto* remove = entry<CUresult(CUcontext, void*)>(table, 1);
  auto* get = entry<CUresult(void**, CUcontext, void*)>(table, 2);
  EXPECT_EQ(nullptr, table[3]);
  int key = 0;
  int value = 0;
  void* found = nullptr;
  EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE, get(&found, nullptr, &key));
  g_current = nullptr;
  EXPECT_EQ(CUDA_ERROR_INVALID_CONTEXT, get(&found, nullptr, &key));
  g_current = kContext;
  g_destroyed = 0;
  Destroy* destroy = [](CUcontext, void*, void*) { ++g_destroyed; };
  EXPECT_EQ(CUDA_SUCCESS, put(nullptr, &key, &value, destroy));
  EXPECT_EQ(CUDA_SUCCESS, get(&found, kContext, &key));
  EXPECT_EQ(&value, found);
  EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE, get(&found, kPrimary, &key));
  drop_storage(kPrimary);
  EXPECT_EQ(0, g_destroyed);
  drop_storage(kContext);
  EXPECT_EQ(1, g_destroyed);
  EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE, get(&found, kContext, &key));
  EXPECT_EQ(CUDA_SUCCESS, put(nullptr, &key, &value, destroy));
  EXPECT_EQ(CUDA_SUCCESS, remove(nullptr, &key));
  EXPECT_EQ(CUDA_ERROR_INVALID_HANDLE, remove(nullptr, &key));
  drop_storage(kContext);
  EXPECT_EQ(1, g_destroyed);
}

TEST_F(Tables, TheHandshakeIsThereOnlyWhereItWasBuilt) {
  const void* const* table = nullptr;
  ASSERT_EQ(CUDA_SUCCESS, find("D4082055BDE6704B8D34BA123C66E1F2", &table));
  using Integrity = CUresult(std::uint32_t, std::uint64_t, std::uint64_t(*)[2]);
  auto* integrity = entry<Integrity>(table, 1);
  std::uint64_t first[2] = {};
#ifdef PHOS_CUDART_HANDSHAKE
  std::uint64_t again[2] = {};
  std::uint64_t later[2] = {};
  EXPECT_EQ(CUDA_SUCCESS, integrity(13002, 1'700'000'000, &first));
  EXPECT_EQ(CUDA_SUCCESS, integrity(13002, 1'700'000'000, &again));
  EXPECT_EQ(CUDA_SUCCESS, integrity(13002, 1'700'000'001, &later));
  EXPECT_EQ(0, std::memcmp(first, again, sizeof(first)));
  EXPECT_NE(0, std::memcmp(first, later, sizeof(first)));
  EXPECT_EQ(CUDA_SUCCESS, integrity(13000, 1, &first));
  EXPECT_EQ(0x3341181C03CB675CU, first[0]);
#else
  EXPECT_EQ(CUDA_SUCCESS, integrity(13000, 1, &first));
  EXPECT_EQ(0U, first[0]);
  EXPECT_EQ(1U, g_lines.size());
#endif
}

}  // namespace
}  // namespace phos::cudart_tables
