// SPDX-License-Identifier: Apache-2.0
// Generated handlers of the executor: they trust nothing in a command, call the driver once, and
// tell the session what became of it.
#include <gtest/gtest.h>

#include <cstring>

#include "executor/session.h"
#include "gen/codec.h"
#include "gen/executor_handlers.h"
#include "phos/handle.h"

namespace {

using phos::CallId;
using phos::executor::Command;
using phos::executor::Reply;
using phos::executor::Session;
namespace codec = phos::codec;
using Log = std::vector<std::string>;

struct Blob {
  const void* data;
  std::size_t size;
};

class Dispatch : public ::testing::Test {
 protected:
  void SetUp() override { phos::fill_unsupported(session.table); }

  template <class Req>
  Reply run(const Req& request, std::span<const Blob> blobs = {}) {
    Command command;
    command.current = 0x400;
    command.bytes.resize(codec::payload_bytes(sizeof(Req), blobs));
    codec::write_payload(command.bytes.data(), &request, sizeof(Req), blobs);
    return run(Req::kCall, command);
  }
  Reply run(CallId id, const Command& command) {
    Reply reply;
    const phos::executor::Handler handler = phos::executor::handler_for(id);
    EXPECT_NE(handler, nullptr);
    if (handler != nullptr) handler(session, command, reply);
    EXPECT_TRUE(reply.finished);
    return reply;
  }
  Session session;
};

TEST_F(Dispatch, IdsThatAreNoCommandsHaveNoHandler) {
  EXPECT_EQ(phos::executor::handler_for(CallId::none), nullptr);
  EXPECT_EQ(phos::executor::handler_for(static_cast<CallId>(0xFFFE)), nullptr);
  EXPECT_EQ(phos::executor::handler_for(CallId::cuInit), nullptr);
  EXPECT_EQ(phos::executor::handler_for(CallId::cuGreenCtxCreate), nullptr);
}

TEST_F(Dispatch, ACreationTellsTheSessionOfTheObjectAndItsParents) {
  session.table.cuEventCreate = [](CUevent* event, unsigned int flags) {
    *event = reinterpret_cast<CUevent>(0x900DULL);
    return flags == 2 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
  };
  codec::Req_cuEventCreate request{};
  request.phEvent = 0x700;
  request.Flags = 2;
  EXPECT_EQ(run(request).status, CUDA_SUCCESS);
  EXPECT_EQ(session.log, (Log{"create event"}));
  EXPECT_EQ(session.made, (std::vector<std::uint64_t>{0x700, 0x900D}));
  EXPECT_EQ(session.parents, (std::vector<std::uint64_t>{0x400}));
}

TEST_F(Dispatch, AFailureOfTheDriverIsTheAnswerAndNothingIsRecorded) {
  codec::Req_cuEventCreate request{};
  request.phEvent = 0x700;
  EXPECT_EQ(run(request).status, CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_TRUE(session.log.empty());
}

TEST_F(Dispatch, ValuesThatTheClientMustHaveRefusedCutItOff) {
  codec::Req_cuEventCreate flags{};
  flags.Flags = 0x80;
  EXPECT_EQ(run(flags).status, CUDA_ERROR_INVALID_VALUE);
  codec::Req_cuCtxGetLimit limit{};
  limit.limit = 0xFFFF;
  EXPECT_EQ(run(limit).status, CUDA_ERROR_INVALID_VALUE);
  Command brief;
  brief.bytes.resize(sizeof(codec::Req_cuEventCreate) - 1);
  EXPECT_EQ(run(CallId::cuEventCreate, brief).status, CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(session.errors.size(), 3U);
}

TEST_F(Dispatch, OutputsAreInTheReply) {
  session.table.cuEventElapsedTime = [](float* ms, CUevent start, CUevent end) {
    *ms = static_cast<float>(reinterpret_cast<std::uint64_t>(end) -
                             reinterpret_cast<std::uint64_t>(start));
    return CUDA_SUCCESS;
  };
  codec::Req_cuEventElapsedTime request{};
  request.hStart = 0x700;
  request.hEnd = 0x703;
  const Reply reply = run(request);
  EXPECT_EQ(reply.status, CUDA_SUCCESS);
  codec::Rep_cuEventElapsedTime values{};
  ASSERT_EQ(reply.bytes.size(), sizeof(values));
  std::memcpy(&values, reply.bytes.data(), sizeof(values));
  EXPECT_EQ(values.pMilliseconds, 3.0F);
}

TEST_F(Dispatch, TextMustLieInThePayloadAndEnd) {
  session.table.cuModuleGetGlobal = [](CUdeviceptr* pointer, std::size_t* bytes, CUmodule,
                                       const char* name) {
    *pointer = 0x1000;
    *bytes = std::strlen(name);
    return CUDA_SUCCESS;
  };
  codec::Req_cuModuleGetGlobal request{};
  request.hmod = 0x700;
  const Blob good[] = {{"table", 6}};
  const Reply reply = run(request, good);
  codec::Rep_cuModuleGetGlobal values{};
  ASSERT_EQ(reply.bytes.size(), sizeof(values));
  std::memcpy(&values, reply.bytes.data(), sizeof(values));
  EXPECT_EQ(values.bytes, 5U);
  EXPECT_TRUE(session.errors.empty());

  const Blob open[] = {{"table", 5}};
  EXPECT_EQ(run(request, open).status, CUDA_ERROR_INVALID_VALUE);
  const Blob none[] = {{nullptr, 0}};
  EXPECT_EQ(run(request, none).status, CUDA_ERROR_INVALID_VALUE);
  for (const codec::BlobRef ref : {codec::BlobRef{0xFFFFFFF8, 6}, codec::BlobRef{16, 0xFFFFFFFF},
                                   codec::BlobRef{17, 3}, codec::BlobRef{0, 6}}) {
    Command command;
    request.name = ref;
    command.bytes.resize(sizeof(request) + 8);
    std::memcpy(command.bytes.data(), &request, sizeof(request));
    EXPECT_EQ(run(CallId::cuModuleGetGlobal, command).status, CUDA_ERROR_INVALID_VALUE);
  }
  EXPECT_EQ(session.errors.size(), 6U);
}

TEST_F(Dispatch, ArraysMustHaveTheSizeThatTheCountSays) {
  session.table.cuMemPoolSetAccess = [](CUmemoryPool pool, const CUmemAccessDesc* map,
                                        std::size_t count) {
    const bool right = reinterpret_cast<std::uint64_t>(pool) == 0x701 && count == 2 &&
                       map[1].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    return right ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
  };
  CUmemAccessDesc access[2] = {};
  access[1].flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  const Blob blobs[] = {{access, sizeof(access)}};
  codec::Req_cuMemPoolSetAccess request{};
  request.pool = 0x700;
  request.count = 2;
  EXPECT_EQ(run(request, blobs).status, CUDA_SUCCESS);
  EXPECT_EQ(session.log, (Log{"resolve memory_pool", "mutate memory_pool"}));
  for (const std::uint64_t lie : {std::uint64_t{1}, std::uint64_t{3}, ~std::uint64_t{0}}) {
    request.count = lie;
    EXPECT_EQ(run(request, blobs).status, CUDA_ERROR_INVALID_VALUE);
  }
  EXPECT_EQ(session.errors.size(), 3U);
}

TEST_F(Dispatch, ValuesBehindVoidComeBackWithTheirSize) {
  session.table.cuMemPoolGetAttribute = [](CUmemoryPool, CUmemPool_attribute, void* value) {
    const std::uint64_t answer = 4096;
    std::memcpy(value, &answer, sizeof(answer));
    return CUDA_SUCCESS;
  };
  codec::Req_cuMemPoolGetAttribute request{};
  request.pool = 0x700;
  request.attr = CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
  const Reply reply = run(request);
  struct Out {
    void* data;
    std::size_t capacity;
    std::size_t size;
  };
  std::uint64_t value = 0;
  Out out[] = {{&value, sizeof(value), 0}};
  codec::Rep_cuMemPoolGetAttribute fixed{};
  ASSERT_TRUE(codec::read_payload(reply.bytes.data(), reply.bytes.size(), &fixed, sizeof(fixed),
                                  std::span<Out>(out)));
  EXPECT_EQ(value, 4096U);
}

TEST_F(Dispatch, ADestructionEndsTheObjectOnlyWhenTheDriverDidIt) {
  codec::Req_cuEventDestroy request{};
  request.hEvent = 0x700;
  EXPECT_EQ(run(request).status, CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(session.log, (Log{"resolve event"}));
  session.table.cuEventDestroy = [](CUevent) { return CUDA_SUCCESS; };
  EXPECT_EQ(run(request).status, CUDA_SUCCESS);
  EXPECT_EQ(session.log.back(), "destroy event");
  request.hEvent = 1;
  EXPECT_EQ(run(request).status, CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(Dispatch, AKernelServesAsAFunction) {
  session.table.cuFuncSetCacheConfig = [](CUfunction, CUfunc_cache) { return CUDA_SUCCESS; };
  codec::Req_cuFuncSetCacheConfig request{};
  request.hfunc = phos::make_handle(static_cast<std::uint8_t>(phos::HandleType::kernel), 0, 0);
  EXPECT_EQ(run(request).status, CUDA_SUCCESS);
  EXPECT_EQ(session.log, (Log{"resolve kernel", "mutate kernel"}));
}

TEST_F(Dispatch, LimitsChangeTheCurrentContext) {
  session.table.cuCtxSetLimit = [](CUlimit, std::size_t) { return CUDA_SUCCESS; };
  codec::Req_cuCtxSetLimit request{};
  request.value = 1024;
  EXPECT_EQ(run(request).status, CUDA_SUCCESS);
  EXPECT_EQ(session.log, (Log{"mutate context"}));
  EXPECT_EQ(session.made.front(), 0x400U);
}

}  // namespace
