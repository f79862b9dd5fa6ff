// SPDX-License-Identifier: Apache-2.0
#include "code-images/description.h"

#include <gtest/gtest.h>

#include "code-images/cubin.h"
#include "code-images/ptx_scan.h"
#include "fixture.h"

namespace phos::code_images {
namespace {

using test::fixture;

std::vector<std::uint32_t> sizes(const KernelDescription& kernel) {
  std::vector<std::uint32_t> result;
  for (const auto& parameter : kernel.parameters) {
    result.push_back(parameter.bytes);
  }
  return result;
}

std::vector<std::uint32_t> offsets(const KernelDescription& kernel) {
  std::vector<std::uint32_t> result;
  for (const auto& parameter : kernel.parameters) {
    result.push_back(parameter.offset);
  }
  return result;
}

// Every image of small.cu must tell the same about it, whatever it is wrapped in.
class EveryImage : public testing::TestWithParam<const char*> {};

TEST_P(EveryImage, TellsKernelsAndVariables) {
  const auto bytes = fixture(GetParam());
  const auto module = describe_flat(bytes, Target{});
  ASSERT_TRUE(module.ok()) << describe(module.error());
  ASSERT_EQ(module.value().kernels.size(), 3U);
  const auto* add = module.value().kernel("add");
  const auto* odd = module.value().kernel("odd");
  const auto* none = module.value().kernel("none");
  ASSERT_TRUE(add != nullptr && odd != nullptr && none != nullptr);
  EXPECT_EQ(sizes(*add), (std::vector<std::uint32_t>{8, 8, 8, 4}));
  EXPECT_EQ(offsets(*add), (std::vector<std::uint32_t>{0, 8, 16, 24}));
  EXPECT_EQ(add->parameter_bytes, 28U);
  EXPECT_EQ(add->static_shared_bytes, 0);
  EXPECT_EQ(sizes(*odd), (std::vector<std::uint32_t>{13, 2, 16, 8, 1}));
  EXPECT_EQ(offsets(*odd), (std::vector<std::uint32_t>{0, 14, 16, 32, 40}));
  EXPECT_EQ(odd->static_shared_bytes, 128);
  EXPECT_EQ(odd->max_threads_per_block, 128);
  EXPECT_TRUE(none->parameters.empty());
  const auto* counter = module.value().variable("counter");
  const auto* table = module.value().variable("table");
  ASSERT_TRUE(counter != nullptr && table != nullptr);
  EXPECT_EQ(counter->bytes, 4U);
  EXPECT_EQ(counter->space, VariableSpace::global);
  EXPECT_EQ(table->bytes, 28U);
  EXPECT_EQ(table->space, VariableSpace::constant);
  EXPECT_FALSE(table->managed);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, EveryImage,
                         testing::Values("zstd.fatbin", "lz4.fatbin", "plain.fatbin",
                                         "cubin_only.fatbin", "sm_80.cubin", "sm_90.cubin",
                                         "compute_80.ptx"));

TEST(Cubin, TellsRegistersAndArchitecture) {
  const auto bytes = fixture("sm_90.cubin");
  const auto module = describe_cubin(bytes);
  ASSERT_TRUE(module.ok());
  EXPECT_EQ(module.value().sm, 90U);
  EXPECT_GT(module.value().kernel("add")->registers, 0);
  EXPECT_EQ(module.value().kernel("add")->local_bytes, 0);
}

TEST(SelectPtx, TakesTheHighestNotAboveTheDevice) {
  const auto bytes = fixture("zstd.fatbin");
  const auto texts = select_ptx_flat(bytes, Target{});
  ASSERT_TRUE(texts.ok());
  ASSERT_EQ(texts.value().size(), 1U);
  EXPECT_NE(texts.value().front().find(".target sm_75"), std::string::npos);
}

TEST(SelectPtx, TakesTheLowestAboveWhenAllowed) {
  const auto bytes = fixture("zstd.fatbin");
  const auto newer = select_ptx_flat(bytes, Target{.sm = 70});
  ASSERT_TRUE(newer.ok());
  EXPECT_NE(newer.value().front().find(".target sm_75"), std::string::npos);
  const auto strict = select_ptx_flat(bytes, Target{.sm = 70, .accepts_newer_ptx = false});
  EXPECT_EQ(strict.error(), ImageError::no_ptx);
}

TEST(SelectPtx, RefusesAnArchitectureSpecificEntryOfAnother) {
  auto bytes = fixture("lz4.fatbin");
  // Flags of the only entry, behind the 16-byte header: bit 20 makes it an 'a' target of sm_80.
  bytes[16 + 40 + 2] |= 0x10;
  EXPECT_EQ(select_ptx_flat(bytes, Target{.sm = 86}).error(), ImageError::no_ptx);
  EXPECT_TRUE(select_ptx_flat(bytes, Target{.sm = 80}).ok());
  bytes[16 + 40 + 2] ^= 0x30;  // now an 'f' target: its family is 8.x
  EXPECT_TRUE(select_ptx_flat(bytes, Target{.sm = 86}).ok());
  EXPECT_EQ(select_ptx_flat(bytes, Target{.sm = 90}).error(), ImageError::no_ptx);
}

TEST(SelectPtx, SaysThatThereIsNone) {
  const auto bytes = fixture("cubin_only.fatbin");
  EXPECT_EQ(select_ptx_flat(bytes, Target{}).error(), ImageError::no_ptx);
}

TEST(DescribePtx, ReadsDeclarationsOfEveryShape) {
  const auto module = describe_ptx(R"(
    // comment .entry
    .version 9.0 .target sm_100a, debug .address_size 64
    .visible .global .attribute(.managed) .align 8 .b8 managed[24];
    .extern .shared .align 16 .b8 dynamic[];
    .shared .align 4 .b8 fixed[40];
    .global .v4 .f32 lanes[2][3];
    .global .b8 sized[] = { 1, 2, 0x3, (4) };
    .const .u64 pointers[2] = { generic(sized), f }, second = 0x10U;
    .func (.param .b32 r) f(.param .b32 x) { ret; }
    .weak .entry k(
      .param .u64 .ptr .global .align 1 k_0,
      .param .align 32 .b8 k_1[33],
      .param .f64 k_2,
      .param .u8 k_3
    ) .maxntid 16, 4, 2 .minnctapersm 2 { .shared .b64 bar; { st.shared.u32 [fixed], %r1; } ret; }
    .entry empty() { ret; }
    .entry declared(.param .u32 x);
    .section .debug_str { .b8 1, 2 }
  )");
  ASSERT_TRUE(module.ok()) << describe(module.error());
  const auto* k = module.value().kernel("k");
  ASSERT_NE(k, nullptr);
  EXPECT_EQ(offsets(*k), (std::vector<std::uint32_t>{0, 32, 72, 80}));
  EXPECT_EQ(k->parameter_bytes, 81U);
  EXPECT_EQ(k->max_threads_per_block, 128);
  EXPECT_EQ(k->static_shared_bytes, 48);
  EXPECT_TRUE(k->parameters[0].maybe_pointer);
  EXPECT_TRUE(k->parameters[1].maybe_pointer);
  EXPECT_FALSE(k->parameters[2].maybe_pointer);
  EXPECT_EQ(module.value().sm, 100U);
  EXPECT_EQ(module.value().kernels.size(), 2U);
  EXPECT_TRUE(module.value().variable("managed")->managed);
  EXPECT_EQ(module.value().variable("lanes")->bytes, 96U);
  EXPECT_EQ(module.value().variable("sized")->bytes, 4U);
  EXPECT_EQ(module.value().variable("pointers")->bytes, 16U);
  EXPECT_EQ(module.value().variable("second")->bytes, 8U);
}

TEST(DescribePtx, RefusesWhatItCannotRead) {
  for (const char* text : {"", "hello", ".version 9.0 .entry k(", ".version 9.0 .entry k(.param",
                           ".version 9.0 .global .u32", ".version 9.0 .entry k() {",
                           ".version 9.0 .global .u32 x[99999999999999999999];",
                           ".version 9.0 .entry k(.param .b8 x[99999]) { }"}) {
    EXPECT_EQ(describe_ptx(text).error(), ImageError::malformed_ptx) << text;
  }
}

}  // namespace
}  // namespace phos::code_images
