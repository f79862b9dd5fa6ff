// SPDX-License-Identifier: Apache-2.0
// One opcode at a time over edge cases and random values: both builds of the handlers must give
// the same bits, and where the host has an independent way to the result, that result.
#include <bit>
#include <cfenv>
#include <cmath>
#include <functional>
#include <random>

#include "support.h"

namespace phos::sim::ptx::test {
namespace {

constexpr std::size_t kRows = 2048;

using Words = std::vector<std::uint64_t>;
using Reference = std::function<std::uint64_t(std::uint64_t, std::uint64_t, std::uint64_t)>;

struct Opcode {
  std::string_view text;
  std::string_view types;  // of d and of the sources: h = 16 bits, r = 32, d = 64
  Reference expected;      // may be empty
};

void PrintTo(const Opcode& opcode, std::ostream* out) { *out << opcode.text; }

std::uint64_t edge(std::mt19937_64& random, char type) {
  static constexpr std::uint32_t kSingles[] = {
      0, 0x80000000, 1, 0x80000001, 0x7fffff, 0x800000, 0x3f800000, 0xbf800000, 0x3f000000,
      0x40490fdb, 0x4b000001, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
      0xffffffff, 0x7fffffff, 31, 32, 33, 0x4f000000, 0xcf000000, 0x3effffff};
  const std::uint64_t bits = random();
  if (type == 'd') {
    switch (bits % 4) {
      case 0: return std::bit_cast<std::uint64_t>(static_cast<double>(
          std::bit_cast<float>(kSingles[(bits >> 8) % std::size(kSingles)])));
      case 1: return kSingles[(bits >> 8) % std::size(kSingles)];
      case 2: return (bits & 0x800fffffffffffff) | ((0x3e0 + (bits >> 52) % 64) << 52);
      default: return random();
    }
  }
  if (type == 'h') {
    static constexpr std::uint16_t kHalves[] = {0, 0x8000, 1, 0x3ff, 0x400, 0x3c00, 0xbc00,
                                                0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xffff};
    return bits % 3 == 0 ? kHalves[(bits >> 8) % std::size(kHalves)] : bits >> 48;
  }
  switch (bits % 4) {
    case 0: return kSingles[(bits >> 8) % std::size(kSingles)];
    case 1: return (bits >> 32 & 0x807fffff) | ((112 + (bits >> 4) % 32) << 23);
    case 2: return bits >> 58;
    default: return bits >> 32;
  }
}

std::string width(char type) { return type == 'h' ? "16" : type == 'r' ? "32" : "64"; }

std::string kernel_for(const Opcode& opcode) {
  std::string body = R"(
    mov.u32 %r0, %ctaid.x; mov.u32 %r1, %ntid.x; mov.u32 %r2, %tid.x;
    mad.lo.u32 %r3, %r0, %r1, %r2;
    mul.wide.u32 %rd1, %r3, 8;
    ld.param.u64 %rd0, [d]; add.u64 %rd10, %rd0, %rd1;
)";
  static constexpr std::string_view kNames[] = {"a", "b", "c"};
  std::string operands;
  for (std::size_t i = 0; i + 1 < opcode.types.size(); ++i) {
    const char type = opcode.types[i + 1];
    const std::string n = std::to_string(i);
    const std::string reg = std::string(type == 'h' ? "%h" : type == 'r' ? "%r2" : "%rd2") + n;
    body += "ld.param.u64 %rd3, [" + std::string(kNames[i]) + "]; add.u64 %rd4, %rd3, %rd1;\n";
    body += "ld.global.b" + width(type) + " " + reg + ", [%rd4];\n";
    operands += ", " + reg;
  }
  const char type = opcode.types[0];
  const std::string d = type == 'h' ? "%h9" : type == 'r' ? "%r30" : "%rd30";
  body += std::string(opcode.text) + " " + d + operands + ";\n";
  body += "st.global.b" + width(type) + " [%rd10], " + d + ";\nret;";
  return kernel_text("k", ".param .u64 d, .param .u64 a, .param .u64 b, .param .u64 c", body);
}

Words run_rows(const Opcode& opcode, const std::vector<Words>& sources) {
  Device device;
  if (!device.load(kernel_for(opcode))) {
    return {};
  }
  const std::uint64_t d = device.upload(Words(kRows, 0));
  std::uint64_t places[3] = {};
  for (std::size_t i = 0; i < 3; ++i) {
    places[i] = device.upload(sources[i]);
  }
  const Fault fault = device.run("k", {kRows / 256, 1, 1}, {256, 1, 1},
                                 Arguments(d, places[0], places[1], places[2]));
  EXPECT_EQ(fault.cuda_error, 0) << fault.text();
  return device.download<std::uint64_t>(d, kRows);
}

class PtxOpcode : public testing::TestWithParam<Opcode> {};

TEST_P(PtxOpcode, IsTheSameInBothBuildsAndRight) {
  const Opcode& opcode = GetParam();
  std::mt19937_64 random(20251125);
  std::vector<Words> sources(3, Words(kRows));
  for (std::size_t i = 0; i < 3; ++i) {
    const char type = i + 1 < opcode.types.size() ? opcode.types[i + 1] : 'r';
    for (std::uint64_t& value : sources[i]) {
      value = edge(random, type);
    }
  }
  const Isa before = active_isa();
  ASSERT_TRUE(force_isa(Isa::baseline));
  const Words baseline = run_rows(opcode, sources);
  if (force_isa(Isa::v3)) {
    EXPECT_EQ(run_rows(opcode, sources), baseline);
  }
  force_isa(before);
  ASSERT_EQ(baseline.size(), kRows);
  for (std::size_t i = 0; opcode.expected && i < kRows; ++i) {
    ASSERT_EQ(baseline[i], opcode.expected(sources[0][i], sources[1][i], sources[2][i]))
        << std::hex << sources[0][i] << " " << sources[1][i] << " " << sources[2][i];
  }
}

// Host arithmetic under a rounding mode; the operands pass through volatile variables so that the
// compiler cannot compute under another.
template <class F, class Operation>
Reference rounded(int mode, Operation operation, bool flush = false) {
  using B = std::conditional_t<sizeof(F) == 4, std::uint32_t, std::uint64_t>;
  return [=](std::uint64_t x, std::uint64_t y, std::uint64_t z) -> std::uint64_t {
    const auto in = [&](std::uint64_t bits) {
      const F value = std::bit_cast<F>(static_cast<B>(bits));
      return flush && std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(F{0}, value) : value;
    };
    volatile F a = in(x);
    volatile F b = in(y);
    volatile F c = in(z);
    std::fesetround(mode);
    volatile F result = operation(a, b, c);
    std::fesetround(FE_TONEAREST);
    if (std::isnan(result)) {
      return sizeof(F) == 4 ? 0x7fffffffU : 0xfff8000000000000U;
    }
    return std::bit_cast<B>(in(std::bit_cast<B>(static_cast<F>(result))));
  };
}

const auto kAdd = [](auto a, auto b, auto) { return a + b; };
const auto kSub = [](auto a, auto b, auto) { return a - b; };
const auto kMul = [](auto a, auto b, auto) { return a * b; };
const auto kDiv = [](auto a, auto b, auto) { return a / b; };
const auto kFma = [](auto a, auto b, auto c) { return std::fma(a, b, c); };
const auto kSqrt = [](auto a, auto, auto) { return std::sqrt(a); };
const auto kRcp = [](auto a, auto, auto) { return 1 / a; };

template <class F>
Reference words32(F f) {
  return [f](std::uint64_t a, std::uint64_t b, std::uint64_t c) -> std::uint64_t {
    return static_cast<std::uint32_t>(f(static_cast<std::uint32_t>(a),
                                        static_cast<std::uint32_t>(b),
                                        static_cast<std::uint32_t>(c)));
  };
}

INSTANTIATE_TEST_SUITE_P(
    Single, PtxOpcode,
    testing::Values(
        Opcode{"add.f32", "rrr", rounded<float>(FE_TONEAREST, kAdd)},
        Opcode{"add.rz.f32", "rrr", rounded<float>(FE_TOWARDZERO, kAdd)},
        Opcode{"sub.rm.f32", "rrr", rounded<float>(FE_DOWNWARD, kSub)},
        Opcode{"mul.rp.f32", "rrr", rounded<float>(FE_UPWARD, kMul)},
        Opcode{"mul.ftz.f32", "rrr", rounded<float>(FE_TONEAREST, kMul, true)},
        Opcode{"fma.rn.f32", "rrrr", rounded<float>(FE_TONEAREST, kFma)},
        Opcode{"fma.rz.f32", "rrrr", rounded<float>(FE_TOWARDZERO, kFma)},
        Opcode{"fma.rm.ftz.sat.f32", "rrrr", {}},
        Opcode{"div.rn.f32", "rrr", rounded<float>(FE_TONEAREST, kDiv)},
        Opcode{"div.rp.f32", "rrr", rounded<float>(FE_UPWARD, kDiv)},
        Opcode{"sqrt.rn.f32", "rr", rounded<float>(FE_TONEAREST, kSqrt)},
        Opcode{"sqrt.rm.f32", "rr", rounded<float>(FE_DOWNWARD, kSqrt)},
        Opcode{"rcp.rz.f32", "rr", rounded<float>(FE_TOWARDZERO, kRcp)},
        Opcode{"min.f32", "rrr", {}}, Opcode{"max.NaN.ftz.f32", "rrr", {}},
        Opcode{"ex2.approx.f32", "rr", {}}, Opcode{"lg2.approx.ftz.f32", "rr", {}},
        Opcode{"sin.approx.f32", "rr", {}}, Opcode{"cos.approx.f32", "rr", {}},
        Opcode{"tanh.approx.f32", "rr", {}}, Opcode{"rsqrt.approx.f32", "rr", {}},
        Opcode{"div.approx.f32", "rrr", {}}, Opcode{"add.sat.f32", "rrr", {}}));

INSTANTIATE_TEST_SUITE_P(
    Double, PtxOpcode,
    testing::Values(
        Opcode{"add.f64", "ddd", rounded<double>(FE_TONEAREST, kAdd)},
        Opcode{"sub.rz.f64", "ddd", rounded<double>(FE_TOWARDZERO, kSub)},
        Opcode{"mul.rm.f64", "ddd", rounded<double>(FE_DOWNWARD, kMul)},
        Opcode{"fma.rn.f64", "dddd", rounded<double>(FE_TONEAREST, kFma)},
        Opcode{"fma.rp.f64", "dddd", rounded<double>(FE_UPWARD, kFma)},
        Opcode{"div.rn.f64", "ddd", rounded<double>(FE_TONEAREST, kDiv)},
        Opcode{"div.rz.f64", "ddd", rounded<double>(FE_TOWARDZERO, kDiv)},
        Opcode{"sqrt.rn.f64", "dd", rounded<double>(FE_TONEAREST, kSqrt)},
        Opcode{"rcp.approx.ftz.f64", "dd", {}}));

INSTANTIATE_TEST_SUITE_P(
    Integer, PtxOpcode,
    testing::Values(
        Opcode{"add.s32", "rrr", words32([](auto a, auto b, auto) { return a + b; })},
        Opcode{"mul.hi.u32", "rrr", words32([](auto a, auto b, auto) {
                 return (std::uint64_t{a} * b) >> 32;
               })},
        Opcode{"mad.lo.u32", "rrrr", words32([](auto a, auto b, auto c) { return a * b + c; })},
        Opcode{"mul.wide.s32", "drr",
               [](std::uint64_t a, std::uint64_t b, std::uint64_t) {
                 return static_cast<std::uint64_t>(
                     std::int64_t{static_cast<std::int32_t>(a)} * static_cast<std::int32_t>(b));
               }},
        Opcode{"div.u32", "rrr", words32([](auto a, auto b, auto) {
                 return b == 0 ? 0xffffffffU : a / b;
               })},
        Opcode{"rem.s32", "rrr", {}}, Opcode{"mul.hi.s64", "ddd", {}},
        Opcode{"add.sat.s32", "rrr", {}},
        Opcode{"shl.b32", "rrr", words32([](auto a, auto b, auto) {
                 return b > 31 ? 0U : a << b;
               })},
        Opcode{"shr.s32", "rrr", words32([](auto a, auto b, auto) {
                 return static_cast<std::int32_t>(a) >> (b > 31 ? 31 : b);
               })},
        Opcode{"shf.l.wrap.b32", "rrrr", words32([](auto a, auto b, auto c) {
                 return ((std::uint64_t{b} << 32 | a) << (c & 31)) >> 32;
               })},
        Opcode{"shf.r.clamp.b32", "rrrr", words32([](auto a, auto b, auto c) {
                 return (std::uint64_t{b} << 32 | a) >> (c > 32 ? 32 : c);
               })},
        Opcode{"popc.b32", "rr", words32([](auto a, auto, auto) { return std::popcount(a); })},
        Opcode{"clz.b32", "rr", words32([](auto a, auto, auto) { return std::countl_zero(a); })},
        Opcode{"bfe.s32", "rrrr", {}}, Opcode{"brev.b32", "rr", {}}, Opcode{"bfind.s32", "rr", {}},
        Opcode{"prmt.b32", "rrrr", {}}, Opcode{"dp4a.s32.u32", "rrrr", {}},
        Opcode{"sad.s32", "rrrr", {}}, Opcode{"fns.b32", "rrrr", {}}));

INSTANTIATE_TEST_SUITE_P(
    Half, PtxOpcode,
    testing::Values(
        Opcode{"add.f16", "hhh", {}}, Opcode{"fma.rn.f16", "hhhh", {}},
        Opcode{"mul.bf16", "hhh", {}}, Opcode{"fma.rn.relu.bf16x2", "rrrr", {}},
        Opcode{"max.f16x2", "rrr", {}}, Opcode{"ex2.approx.f16", "hh", {}},
        Opcode{"min.NaN.bf16", "hhh", {}}, Opcode{"fma.rn.sat.f16x2", "rrrr", {}}));

INSTANTIATE_TEST_SUITE_P(
    Convert, PtxOpcode,
    testing::Values(
        Opcode{"cvt.rn.f32.s32", "rr",
               [](std::uint64_t a, std::uint64_t, std::uint64_t) -> std::uint64_t {
                 return std::bit_cast<std::uint32_t>(
                     static_cast<float>(static_cast<std::int32_t>(a)));
               }},
        Opcode{"cvt.rn.f32.u64", "rd",
               [](std::uint64_t a, std::uint64_t, std::uint64_t) -> std::uint64_t {
                 return std::bit_cast<std::uint32_t>(static_cast<float>(a));
               }},
        Opcode{"cvt.rn.f32.f64", "rd",
               [](std::uint64_t a, std::uint64_t, std::uint64_t) -> std::uint64_t {
                 const auto f = static_cast<float>(std::bit_cast<double>(a));
                 return std::isnan(f) ? 0x7fffffffU : std::bit_cast<std::uint32_t>(f);
               }},
        Opcode{"cvt.rzi.s32.f32", "rr",
               [](std::uint64_t a, std::uint64_t, std::uint64_t) -> std::uint64_t {
                 const double x = std::trunc(std::bit_cast<float>(static_cast<std::uint32_t>(a)));
                 return static_cast<std::uint32_t>(static_cast<std::int32_t>(
                     std::isnan(x) ? 0 : std::min(std::max(x, -0x1p31), 0x1p31 - 1)));
               }},
        Opcode{"cvt.rni.f32.f32", "rr",
               [](std::uint64_t a, std::uint64_t, std::uint64_t) -> std::uint64_t {
                 const float x = std::nearbyint(std::bit_cast<float>(
                     static_cast<std::uint32_t>(a)));
                 return std::isnan(x) ? 0x7fffffffU : std::bit_cast<std::uint32_t>(x);
               }},
        Opcode{"cvt.rn.f16.f32", "hr", {}}, Opcode{"cvt.rz.bf16.f32", "hr", {}},
        Opcode{"cvt.f32.f16", "rh", {}}, Opcode{"cvt.rna.tf32.f32", "rr", {}},
        Opcode{"cvt.rn.satfinite.e4m3x2.f32", "hrr", {}}, Opcode{"cvt.sat.s8.s32", "rr", {}},
        Opcode{"cvt.rpi.u64.f64", "dd", {}}, Opcode{"cvt.rm.f32.s64", "rd", {}}));

}  // namespace
}  // namespace phos::sim::ptx::test
