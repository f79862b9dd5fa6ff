// SPDX-License-Identifier: Apache-2.0
// Text that is damaged in every way: it is refused, or loads and runs to an end or a fault. What
// must not happen is a crash, which the sanitizer build would show.
#include <random>

#include "support.h"

namespace phos::sim::ptx::test {
namespace {

constexpr std::string_view kText = R"(.version 9.0
.target sm_86
.address_size 64
.global .align 8 .u64 table[3] = {generic(text), 5, 0x10};
.global .align 1 .b8 text[4] = {1, 2, (1 << 3) + 2, -4};
.func (.param .b32 r) f(.param .b32 n)
{
  .reg .b32 %r<3>;
  ld.param.u32 %r1, [n];
  mad.lo.s32 %r2, %r1, 3, 7;
  st.param.b32 [r], %r2;
  ret;
}
.visible .entry k(.param .u64 out, .param .align 4 .b8 s[12]) .maxntid 64, 1, 1
{
  .shared .align 4 .b8 box[256];
  .local .align 8 .b8 frame[16];
  .reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<12>; .reg .f32 %f<6>; .reg .b64 %rd<8>;
  ld.param.u64 %rd1, [out];
  ld.param.u32 %r9, [s+8];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd2, %r1, 4;
  add.s64 %rd3, %rd1, %rd2;
  mov.u32 %r2, box;
  shl.b32 %r3, %r1, 2;
  add.u32 %r4, %r2, %r3;
  st.shared.u32 [%r4], %r1;
  bar.sync 0;
  ld.shared.v2.u32 {%r5, %r6}, [box+8];
  st.local.u16 [frame+2], %h1;
  setp.gt.and.f32 %p1|%p2, 0f3f800000, %f1, !%p3;
  @%p1 bra DONE;
  { .param .b32 a; .param .b32 b; st.param.b32 [a], %r5;
    call.uni (b), f, (a); ld.param.b32 %r7, [b]; }
  shfl.sync.bfly.b32 %r8|%p3, %r7, 1, 31, -1;
  atom.global.add.u32 %r10, [%rd3+0], %r8;
  cvt.rn.f16.f32 %h2, %f2;
  mov.b32 {%h1, %h3}, %r8;
DONE:
  st.global.u32 [%rd3], %r8;
  ret;
}
)";

class PtxHostile : public testing::TestWithParam<int> {};

std::string damaged(std::mt19937_64& random) {
  std::string text(kText);
  const auto pick = [&](std::size_t below) { return static_cast<std::size_t>(random() % below); };
  const std::size_t changes = 1 + pick(3);
  for (std::size_t i = 0; i < changes; ++i) {
    const std::size_t at = pick(text.size());
    switch (pick(6)) {
      case 0: text[at] = static_cast<char>(random()); break;
      case 1: text.erase(at, 1 + pick(20)); break;
      case 2: text.insert(at, text.substr(pick(text.size()), 1 + pick(40))); break;
      case 3: text.resize(at + 1); break;
      case 4: text[at] = "0123456789[]{}()<>.,;:%+-|@!"[pick(28)]; break;
      default: {  // one word for another
        const std::size_t other = pick(text.size());
        text.replace(at, 4, text.substr(other, 4));
        break;
      }
    }
  }
  return text;
}

TEST_P(PtxHostile, DamagedTextIsRefusedOrRunsToAnEnd) {
  std::mt19937_64 random(static_cast<std::uint64_t>(GetParam()));
  int loaded = 0;
  for (int i = 0; i < 400; ++i) {
    const std::string text = damaged(random);
    Module::Loaded result = Module::load(text);
    if (result.module == nullptr) {
      EXPECT_FALSE(result.diagnostic.ok());
      EXPECT_FALSE(result.diagnostic.message.empty());
      continue;
    }
    ++loaded;
    Device device;
    device.module = std::move(result.module);
    bool bound = true;
    for (std::uint32_t v = 0; v < device.module->variables().size(); ++v) {
      const std::uint64_t bytes = device.module->variables()[v].bytes;
      bound = bound && bytes < 1 << 20;
      if (bound && bytes != 0) {
        device.module->bind(v, device.allocate(bytes));
      }
    }
    if (!bound || !device.module->initialise(device.memory).ok()) {
      continue;
    }
    const std::uint64_t out = device.allocate(256);
    Arguments arguments(out, 1U, 2U, 3U);
    LaunchConfig config;
    config.block = {64, 1, 1};
    config.parameters = arguments.bytes();
    for (std::uint32_t kernel = 0; kernel < device.module->kernels().size(); ++kernel) {
      const auto execution = Execution::create(*device.module, kernel, device.memory,
                                               device.sink, config);
      for (int steps = 0; execution != nullptr && steps < 4; ++steps) {
        if (execution->step(2000) != Step::running) {
          break;
        }
      }
    }
  }
  EXPECT_GT(loaded, 0);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PtxHostile, testing::Range(1, 9));

}  // namespace
}  // namespace phos::sim::ptx::test
