// SPDX-License-Identifier: Apache-2.0
#include "executor/change_hasher.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "executor/device_port.h"
#include "executor/fault.h"
#include "executor/shadow_memory.h"

namespace phos::executor {

namespace {

using namespace change_hash;

// Chunks of one launch: 128 MiB.
constexpr std::size_t kAtOnce = 64;
// Pairs of words that a thread loads before it works on the first: loads must overlap.
constexpr int kPairs = 4;
constexpr std::uint64_t kWordsPerTurn = 2 * kPairs * kThreads;
static_assert(kChunkBytes / 8 % kWordsPerTurn == 0);

constexpr char kOpening[] = R"(
.version 7.0
.target sm_70
.address_size 64

.visible .entry phos_change_hash(
  .param .u64 table, .param .u64 out, .param .u64 k0, .param .u64 k1, .param .u64 words)
{
  .reg .pred %p;
  .reg .b32 %r<8>;
  .reg .b64 %table, %out, %at, %i, %words, %a, %b, %p0, %p1, %step0, %step1, %x, %s, %t;
  .reg .b64 %w<8>;

  ld.param.u64 %table, [table];
  ld.param.u64 %out, [out];
  ld.param.u64 %p0, [k0];
  ld.param.u64 %p1, [k1];
  ld.param.u64 %words, [words];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %tid.x;
  mul.wide.u32 %t, %r1, 8;
  add.u64 %table, %table, %t;
  ld.global.u64 %at, [%table];
  mul.wide.u32 %t, %r1, 16;
  add.u64 %out, %out, %t;
  mul.wide.u32 %i, %r2, 2;
  shl.b64 %t, %i, 3;
  add.u64 %at, %at, %t;
  mov.u64 %a, 0;
  mov.u64 %b, 0;
)";

constexpr char kClosing[] = R"(
  add.u64 %i, %i, %t;
  setp.lt.u64 %p, %i, %words;
  @%p bra TURN;

  mov.u32 %r3, 16;
REDUCE:
  mov.b64 {%r4, %r5}, %a;
  shfl.sync.bfly.b32 %r6, %r4, %r3, 31, 0xffffffff;
  shfl.sync.bfly.b32 %r7, %r5, %r3, 31, 0xffffffff;
  mov.b64 %x, {%r6, %r7};
  add.u64 %a, %a, %x;
  mov.b64 {%r4, %r5}, %b;
  shfl.sync.bfly.b32 %r6, %r4, %r3, 31, 0xffffffff;
  shfl.sync.bfly.b32 %r7, %r5, %r3, 31, 0xffffffff;
  mov.b64 %x, {%r6, %r7};
  add.u64 %b, %b, %x;
  shr.u32 %r3, %r3, 1;
  setp.ne.u32 %p, %r3, 0;
  @%p bra REDUCE;

  and.b32 %r3, %r2, 31;
  setp.ne.u32 %p, %r3, 0;
  @%p bra DONE;
  red.global.add.u64 [%out], %a;
  red.global.add.u64 [%out+8], %b;
DONE:
  ret;
}
)";

std::string number(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%" PRIx64, value);
  return text;
}

std::string xor_shift(int bits) {
  return "  shr.u64 %s, %x, " + std::to_string(bits) + ";\n  xor.b64 %x, %x, %s;\n";
}

// One word: mixes it with the keys of its place, and goes to those of the next.
std::string mix_word(int word, bool last_of_pair) {
  std::string text = "  xor.b64 %x, %w" + std::to_string(word) + ", %p0;\n" + xor_shift(kShift0);
  text += "  mul.lo.u64 %x, %x, " + number(kM0) + ";\n" + xor_shift(kShift1);
  text += "  mul.lo.u64 %x, %x, " + number(kM1) + ";\n" + xor_shift(kShift2);
  text += "  add.u64 %a, %a, %x;\n  or.b64 %s, %p1, 1;\n  mad.lo.u64 %b, %x, %s, %b;\n";
  const std::string by0 = last_of_pair ? "%step0" : number(kG0);
  const std::string by1 = last_of_pair ? "%step1" : number(kG1);
  return text + "  add.u64 %p0, %p0, " + by0 + ";\n  add.u64 %p1, %p1, " + by1 + ";\n";
}

}  // namespace

std::string change_hash_ptx() {
  std::string text = kOpening;
  // The keys of this thread's first word, and the way from its second word to its next first.
  text += "  mad.lo.u64 %p0, %i, " + number(kG0) + ", %p0;\n";
  text += "  mad.lo.u64 %p1, %i, " + number(kG1) + ", %p1;\n";
  const std::uint64_t next = 2 * kThreads - 1;
  text += "  mov.u64 %step0, " + number(next * kG0) + ";\n";
  text += "  mov.u64 %step1, " + number(next * kG1) + ";\n";
  text += "  mov.u64 %t, " + number(kWordsPerTurn) + ";\n";
  text += "TURN:\n";
  for (int pair = 0; pair < kPairs; ++pair) {
    text += "  ld.global.v2.u64 {%w" + std::to_string(2 * pair) + ", %w" +
            std::to_string(2 * pair + 1) + "}, [%at+" +
            std::to_string(std::uint64_t{2} * kThreads * 8 * static_cast<unsigned>(pair)) + "];\n";
  }
  for (int word = 0; word < 2 * kPairs; ++word) text += mix_word(word, word % 2 == 1);
  text += "  add.u64 %at, %at, " + number(kWordsPerTurn * 8) + ";\n";
  return text + kClosing;
}

ChangeHasher::~ChangeHasher() {
  if (module_ != nullptr) driver_.cuModuleUnload(module_);
}

CUresult ChangeHasher::load() {
  const std::string text = change_hash_ptx();
  CUresult result = driver_.cuModuleLoadData(&module_, text.c_str());
  if (result != CUDA_SUCCESS) {
    module_ = nullptr;
    return result;
  }
  result = driver_.cuModuleGetFunction(&function_, module_, kKernel);
  if (result != CUDA_SUCCESS) function_ = nullptr;
  return result;
}

std::uint64_t ChangeHasher::scratch_bytes(std::size_t chunks) noexcept {
  return chunks * (sizeof(std::uint64_t) + sizeof(ChangeHash)) + sizeof(ChangeHash);
}

std::uint64_t ChangeHasher::hashes_at(std::uint64_t scratch, std::size_t chunks) noexcept {
  const std::uint64_t end = scratch + chunks * sizeof(std::uint64_t);
  return (end + sizeof(ChangeHash) - 1) / sizeof(ChangeHash) * sizeof(ChangeHash);
}

CUresult ChangeHasher::launch(std::uint64_t scratch, std::size_t chunks, ChangeKey key,
                              CUstream stream) {
  if (chunks == 0) return CUDA_SUCCESS;
  const std::uint64_t out = hashes_at(scratch, chunks);
  CUresult result = driver_.cuMemsetD8Async(out, 0, chunks * sizeof(ChangeHash), stream);
  if (result != CUDA_SUCCESS) return result;
  ChangeHashParameters parameters{scratch, out, key, kChunkBytes / 8};
  std::size_t bytes = sizeof(parameters);
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &parameters, CU_LAUNCH_PARAM_BUFFER_SIZE,
                   &bytes, CU_LAUNCH_PARAM_END};
  return driver_.cuLaunchKernel(function_, static_cast<unsigned int>(chunks), 1, 1, kThreads, 1, 1,
                                0, stream, nullptr, extra);
}

std::vector<ChangeHash> ChangeHasher::hash_all(CUdevice device,
                                               const std::vector<std::uint64_t>& chunks,
                                               ChangeKey key) {
  std::vector<ChangeHash> hashes;
  ShadowMemory scratch(driver_, device);
  if (!available() || chunks.empty()) return hashes;
  const CUresult taken = scratch.take(scratch_bytes(kAtOnce));
  if (taken == CUDA_ERROR_OUT_OF_MEMORY) return hashes;
  check_driver(driver_, taken, "Taking device memory for hashes");
  CUstream stream = nullptr;
  check_driver(driver_, driver_.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING),
               "Making a stream for hashes");
  hashes.resize(chunks.size());
  CUresult result = CUDA_SUCCESS;
  for (std::size_t at = 0; at < chunks.size() && result == CUDA_SUCCESS; at += kAtOnce) {
    const std::size_t count = std::min(kAtOnce, chunks.size() - at);
    result = driver_.cuMemcpyHtoDAsync(scratch.address(), &chunks[at],
                                       count * sizeof(chunks[at]), stream);
    if (result == CUDA_SUCCESS) result = launch(scratch.address(), count, key, stream);
    if (result == CUDA_SUCCESS) {
      result = driver_.cuMemcpyDtoHAsync(&hashes[at], hashes_at(scratch.address(), count),
                                         count * sizeof(ChangeHash), stream);
    }
    // Also after a failure: nothing may use the scratch memory any more when it goes.
    const CUresult ended = driver_.cuStreamSynchronize(stream);
    if (result == CUDA_SUCCESS) result = ended;
  }
  driver_.cuStreamDestroy(stream);
  check_driver(driver_, result, "Hashing device memory");
  return hashes;
}

}  // namespace phos::executor
