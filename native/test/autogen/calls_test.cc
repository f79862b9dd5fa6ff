// SPDX-License-Identifier: Apache-2.0
// Generated bodies of the client: what they refuse, what they send, what they give back.
#include <gtest/gtest.h>

#include "client/call.h"
#include "gen/client_impl.h"

namespace phos::client {
FakeClient g_client;
}

namespace {

using phos::CallId;
using phos::client::FakeClient;
using phos::client::g_client;
namespace codec = phos::codec;
namespace impl = phos::client::impl;
using Log = std::vector<std::string>;

template <class Handle>
Handle handle(std::uint64_t value) {
  return reinterpret_cast<Handle>(value);
}

class Calls : public ::testing::Test {
 protected:
  void SetUp() override { g_client = FakeClient{}; }
  template <class Req>
  Req sent() {
    Req request{};
    EXPECT_GE(g_client.request.size(), sizeof(Req));
    std::memcpy(&request, g_client.request.data(), sizeof(Req));
    return request;
  }
  template <class Rep>
  void answer(const Rep& reply, std::span<const phos::client::Blob> blobs = {}) {
    g_client.reply.resize(codec::payload_bytes(sizeof(Rep), blobs));
    codec::write_payload(g_client.reply.data(), &reply, sizeof(Rep), blobs);
  }
};

TEST_F(Calls, ACreationSendsTheHandleThatTheProgramGets) {
  CUevent event = nullptr;
  EXPECT_EQ(impl::cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), CUDA_SUCCESS);
  EXPECT_EQ(event, handle<CUevent>(0x1234));
  const auto request = sent<codec::Req_cuEventCreate>();
  EXPECT_EQ(request.phEvent, 0x1234U);
  EXPECT_EQ(request.Flags, CU_EVENT_DISABLE_TIMING);
  EXPECT_EQ(g_client.log, (Log{"new event"}));
}

TEST_F(Calls, ACreationThatFailsLeavesNoHandle) {
  g_client.answer = CUDA_ERROR_OUT_OF_MEMORY;
  CUevent event = handle<CUevent>(0x5555);
  EXPECT_EQ(impl::cuEventCreate(&event, 0), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(event, handle<CUevent>(0x5555));
  EXPECT_EQ(g_client.log, (Log{"new event", "drop event"}));
}

TEST_F(Calls, BadValuesAreRefusedBeforeAnythingIsSent) {
  CUevent event = nullptr;
  EXPECT_EQ(impl::cuEventCreate(nullptr, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(impl::cuEventCreate(&event, 0x80), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(impl::cuEventCreate(&event, CU_EVENT_INTERPROCESS), CUDA_ERROR_INVALID_VALUE);
  std::size_t value = 0;
  EXPECT_EQ(impl::cuCtxGetLimit(&value, static_cast<CUlimit>(14)), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(impl::cuEventRecord(handle<CUevent>(1), nullptr), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(g_client.sent, CallId::none);
  g_client.ready = CUDA_ERROR_NOT_INITIALIZED;
  EXPECT_EQ(impl::cuEventCreate(&event, 0), CUDA_ERROR_NOT_INITIALIZED);
}

TEST_F(Calls, AnAsyncCallDoesNotWait) {
  EXPECT_EQ(impl::cuEventRecord(handle<CUevent>(0x900), nullptr), CUDA_SUCCESS);
  EXPECT_TRUE(g_client.is_async);
  EXPECT_EQ(g_client.sent, CallId::cuEventRecord);
  EXPECT_EQ(sent<codec::Req_cuEventRecord>().hEvent, 0x900U);
  EXPECT_EQ(sent<codec::Req_cuEventRecord>().hStream, 0U);
}

TEST_F(Calls, ADestructionRetiresTheHandleLast) {
  EXPECT_EQ(impl::cuEventDestroy(handle<CUevent>(1)), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(g_client.sent, CallId::none);
  EXPECT_EQ(impl::cuEventDestroy(handle<CUevent>(0x900)), CUDA_SUCCESS);
  EXPECT_EQ(g_client.log.back(), "retire event");
}

TEST_F(Calls, OutputsComeBack) {
  codec::Rep_cuEventElapsedTime reply{};
  reply.pMilliseconds = 1.5F;
  answer(reply);
  float milliseconds = 0;
  EXPECT_EQ(impl::cuEventElapsedTime(&milliseconds, handle<CUevent>(0x900), handle<CUevent>(0x901)),
            CUDA_SUCCESS);
  EXPECT_EQ(milliseconds, 1.5F);
}

TEST_F(Calls, NullOutputsAreLeftOutWhereTheyMayBe) {
  codec::Rep_cuModuleGetGlobal reply{};
  reply.dptr = 0x200000000000;
  reply.bytes = 12;
  answer(reply);
  CUdeviceptr pointer = 0;
  const auto module = handle<CUmodule>(0x700);
  EXPECT_EQ(impl::cuModuleGetGlobal(&pointer, nullptr, module, "table"), CUDA_SUCCESS);
  EXPECT_EQ(pointer, 0x200000000000U);
  const auto request = sent<codec::Req_cuModuleGetGlobal>();
  EXPECT_EQ(request.name.bytes, 6U);
  const auto* const payload = reinterpret_cast<const char*>(g_client.request.data());
  EXPECT_STREQ(payload + request.name.offset, "table");
  EXPECT_EQ(impl::cuModuleGetGlobal(nullptr, nullptr, module, "table"), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(impl::cuModuleGetGlobal(&pointer, nullptr, module, nullptr), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(Calls, ValuesBehindVoidHaveTheSizeOfTheirAttribute) {
  const auto pool = handle<CUmemoryPool>(0x600);
  const std::uint64_t threshold = 4096;
  const phos::client::Blob blobs[] = {{&threshold, sizeof(threshold)}};
  answer(codec::Rep_cuMemPoolGetAttribute{}, blobs);
  std::uint64_t value = 0;
  EXPECT_EQ(impl::cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &value),
            CUDA_SUCCESS);
  EXPECT_EQ(value, threshold);
  int follow = 1;
  EXPECT_EQ(impl::cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC, &follow),
            CUDA_SUCCESS);
  EXPECT_EQ(sent<codec::Req_cuMemPoolSetAttribute>().value.bytes, 4U);
  EXPECT_EQ(impl::cuMemPoolSetAttribute(pool, static_cast<CUmemPool_attribute>(15), &follow),
            CUDA_ERROR_INVALID_VALUE);
}

TEST_F(Calls, ArraysTravelWhole) {
  const CUmemAccessDesc access[2] = {};
  const auto pool = handle<CUmemoryPool>(0x600);
  EXPECT_EQ(impl::cuMemPoolSetAccess(pool, access, 2), CUDA_SUCCESS);
  EXPECT_EQ(sent<codec::Req_cuMemPoolSetAccess>().map.bytes, 2 * sizeof(CUmemAccessDesc));
  EXPECT_EQ(impl::cuMemPoolSetAccess(pool, nullptr, 2), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(impl::cuMemPoolSetAccess(pool, access, SIZE_MAX), CUDA_ERROR_INVALID_VALUE);
}

}  // namespace
