// SPDX-License-Identifier: Apache-2.0
// What modules declare, how functions are called, what the device provides, what is refused.
#include "support.h"

namespace phos::sim::ptx::test {
namespace {

constexpr std::string_view kHeader = ".version 9.0\n.target sm_86\n.address_size 64\n";

TEST(PtxModule, VariablesAreInitialisedAndRelocated) {
  Device device;
  ASSERT_TRUE(device.load(std::string(kHeader) + R"(
.visible .global .align 4 .u32 counter = 3;
.global .align 8 .u64 pointer[3] = {generic(counter), counter+4, 0};
.visible .const .align 4 .f32 table[4] = {0f3F800000, 2.0, 3.5};
.global .align 1 .b8 text[6] = {104, 101, 108, 108, 111};
.visible .global .attribute(.managed) .align 8 .f64 both = 0d4000000000000000;
.visible .entry k(.param .u64 out)
{
  .reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .f32 %f<5>; .reg .f64 %fd<3>;
  ld.param.u64 %rd1, [out];
  ld.global.u64 %rd2, [pointer];
  ld.u32 %r1, [%rd2];
  st.global.u32 [%rd1], %r1;
  ld.const.f32 %f1, [table+8];
  st.global.f32 [%rd1+4], %f1;
  mov.u64 %rd3, text;
  ld.global.u8 %r2, [%rd3+4];
  st.global.u32 [%rd1+8], %r2;
  ld.global.u64 %rd4, [pointer+8];
  sub.u64 %rd5, %rd4, %rd2;
  cvt.u32.u64 %r3, %rd5;
  st.global.u32 [%rd1+12], %r3;
  atom.global.add.u32 %r4, [counter], 5;
  ld.global.f64 %fd1, [both];
  cvt.rzi.u32.f64 %r5, %fd1;
  st.global.u32 [%rd1+16], %r5;
  ret;
}
)"));
  const auto& module = *device.module;
  ASSERT_EQ(module.variables().size(), 5U);
  EXPECT_EQ(module.variables()[2].space, VariableSpace::constant);
  EXPECT_TRUE(module.variables()[4].managed);
  EXPECT_FALSE(module.variables()[1].visible);
  const std::uint64_t out = device.allocate(64);
  const Fault fault = device.run("k", {1, 1, 1}, {1, 1, 1}, Arguments(out));
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  const auto values = device.download<std::uint32_t>(out, 5);
  EXPECT_EQ(values[0], 3U);
  EXPECT_EQ(values[1], 0x40600000U);
  EXPECT_EQ(values[2], static_cast<std::uint32_t>('o'));
  EXPECT_EQ(values[3], 4U);
  EXPECT_EQ(values[4], 2U);
  const std::uint64_t counter = module.address_of(*module.find_variable("counter"));
  EXPECT_EQ(device.download<std::uint32_t>(counter, 1)[0], 8U);
}

constexpr std::string_view kCalls = R"(
.func (.param .b32 r) fib(.param .b32 n);
.func (.param .b32 r) twice(.param .b32 n)
{
  .reg .b32 %r<3>;
  ld.param.u32 %r1, [n];
  add.u32 %r2, %r1, %r1;
  st.param.b32 [r], %r2;
  ret;
}
.func (.param .align 8 .b8 r[16]) swap(.param .align 8 .b8 v[16])
{
  .reg .b64 %rd<3>; .reg .b32 %r<3>;
  ld.param.u64 %rd1, [v];
  ld.param.v2.b32 {%r1, %r2}, [v+8];
  st.param.b64 [r+8], %rd1;
  st.param.v2.b32 [r], {%r1, %r2};
  ret;
}
.global .align 8 .u64 functions[2] = {fib, twice};
.func (.param .b32 r) fib(.param .b32 n)
{
  .reg .b32 %r<9>; .reg .pred %p<2>;
  ld.param.u32 %r1, [n];
  mov.u32 %r5, %r1;
  setp.lt.u32 %p1, %r1, 2;
  @%p1 bra DONE;
  sub.u32 %r2, %r1, 1;
  {
    .param .b32 a; .param .b32 b;
    st.param.b32 [a], %r2;
    call.uni (b), fib, (a);
    ld.param.b32 %r3, [b];
  }
  sub.u32 %r2, %r1, 2;
  {
    .param .b32 a; .param .b32 b;
    st.param.b32 [a], %r2;
    call.uni (b), fib, (a);
    ld.param.b32 %r4, [b];
  }
  add.u32 %r5, %r3, %r4;
DONE:
  st.param.b32 [r], %r5;
  ret;
}
.visible .entry k(.param .u64 out, .param .u64 bad)
{
  .reg .b32 %r<9>; .reg .b64 %rd<12>; .reg .pred %p<3>;
  ld.param.u64 %rd1, [out];
  ld.param.u64 %rd9, [bad];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd2, %r1, 4;
  add.u64 %rd3, %rd1, %rd2;
  and.b32 %r2, %r1, 1;
  mul.wide.u32 %rd4, %r2, 8;
  mov.u64 %rd5, functions;
  add.u64 %rd6, %rd5, %rd4;
  ld.global.u64 %rd7, [%rd6];
  add.u64 %rd7, %rd7, %rd9;
  {
    .param .b32 a; .param .b32 b;
    st.param.b32 [a], %r1;
  prototype: .callprototype (.param .b32 _) _ (.param .b32 _);
    call (b), %rd7, (a), prototype;
    ld.param.b32 %r3, [b];
  }
  st.global.u32 [%rd3], %r3;
  setp.ne.u32 %p1, %r1, 0;
  @%p1 ret;
  {
    .param .align 8 .b8 a[16]; .param .align 8 .b8 b[16];
    st.param.b64 [a], 17;
    st.param.b32 [a+8], 1;
    st.param.b32 [a+12], 2;
    call.uni (b), swap, (a);
    ld.param.b64 %rd8, [b+8];
    ld.param.b32 %r4, [b+4];
  }
  st.global.u64 [%rd1+64], %rd8;
  st.global.u32 [%rd1+72], %r4;
  ret;
}
)";

TEST(PtxModule, CallsAreDirectIndirectRecursiveAndPassStructures) {
  Device device;
  ASSERT_TRUE(device.load(std::string(kHeader) + std::string(kCalls)));
  const std::uint64_t out = device.allocate(128);
  const Fault fault = device.run("k", {1, 1, 1}, {12, 1, 1}, Arguments(out, std::uint64_t{0}));
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  const auto values = device.download<std::uint32_t>(out, 20);
  const std::uint32_t fib[] = {0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55};
  for (std::uint32_t i = 0; i < 12; ++i) {
    EXPECT_EQ(values[i], i % 2 == 0 ? fib[i] : 2 * i) << i;
  }
  EXPECT_EQ(values[16], 17U);
  EXPECT_EQ(values[18], 2U);
}

TEST(PtxModule, BadFunctionPointerIsInvalidPc) {
  Device device;
  ASSERT_TRUE(device.load(std::string(kHeader) + std::string(kCalls)));
  const std::uint64_t out = device.allocate(128);
  const Fault fault = device.run("k", {1, 1, 1}, {1, 1, 1}, Arguments(out, std::uint64_t{4}));
  EXPECT_EQ(fault.cuda_error, 718);
}

TEST(PtxModule, EndlessRecursionFillsTheStack) {
  Device device;
  ASSERT_TRUE(device.load(std::string(kHeader) + R"(
.func f()
{
  .reg .pred %p<2>;
  call.uni f, ();
  ret;
}
.visible .entry k() { call.uni f, (); ret; }
)"));
  const Fault fault = device.run("k", {1, 1, 1}, {1, 1, 1}, Arguments());
  EXPECT_EQ(fault.cuda_error, 719);
  EXPECT_EQ(fault.function, "f");
}

constexpr std::string_view kProvided = R"(
.extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);
.extern .func (.param .b64 r) malloc(.param .b64 n);
.extern .func free(.param .b64 p);
.extern .func __assertfail(.param .b64 m, .param .b64 f, .param .b32 l, .param .b64 n,
                           .param .b64 c);
.global .align 1 .b8 format[20] = {37, 100, 32, 37, 115, 32, 37, 46, 50, 102, 32, 37, 108, 108,
                                   120, 10, 0};
.global .align 1 .b8 word[4] = {97, 98, 99, 0};
.visible .entry k(.param .u32 fail)
{
  .local .align 8 .b8 frame[32];
  .reg .b64 %rd<12>; .reg .b32 %r<5>; .reg .pred %p<2>;
  mov.u64 %rd1, frame;
  cvta.local.u64 %rd2, %rd1;
  st.local.u32 [%rd1], -7;
  mov.u64 %rd3, word;
  cvta.global.u64 %rd4, %rd3;
  st.u64 [%rd2+8], %rd4;
  st.local.f64 [%rd1+16], 0d400A000000000000;
  st.local.u64 [frame+24], 0x123456789abcdef;
  mov.u64 %rd5, format;
  cvta.global.u64 %rd6, %rd5;
  {
    .param .b64 a; .param .b64 b; .param .b32 c;
    st.param.b64 [a], %rd6;
    st.param.b64 [b], %rd2;
    call.uni (c), vprintf, (a, b);
    ld.param.b32 %r1, [c];
  }
  {
    .param .b64 a; .param .b64 b;
    st.param.b64 [a], 64;
    call.uni (b), malloc, (a);
    ld.param.b64 %rd7, [b];
  }
  st.u32 [%rd7+60], %r1;
  ld.global.u32 %r2, [%rd7+60];
  {
    .param .b64 a;
    st.param.b64 [a], %rd7;
    call.uni free, (a);
  }
  ld.param.u32 %r3, [fail];
  setp.eq.u32 %p1, %r3, 0;
  @%p1 ret;
  setp.eq.u32 %p1, %r3, 2;
  @%p1 st.u32 [%rd7], 1;
  {
    .param .b64 a; .param .b64 b; .param .b32 c; .param .b64 d; .param .b64 e;
    st.param.b64 [a], %rd4;
    st.param.b64 [b], %rd4;
    st.param.b32 [c], 12;
    st.param.b64 [d], %rd4;
    st.param.b64 [e], 1;
    call.uni __assertfail, (a, b, c, d, e);
  }
  ret;
}
)";

TEST(PtxModule, PrintAssertMallocAndFree) {
  Device device;
  ASSERT_TRUE(device.load(std::string(kHeader) + std::string(kProvided)));
  Fault fault = device.run("k", {1, 1, 1}, {2, 1, 1}, Arguments(0U));
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  EXPECT_EQ(device.sink.printed, "-7 abc 3.25 123456789abcdef\n-7 abc 3.25 123456789abcdef\n");
  EXPECT_EQ(device.sink.live_allocations, 0U);
  fault = device.run("k", {1, 1, 1}, {1, 1, 1}, Arguments(1U));
  EXPECT_EQ(fault.cuda_error, 710);
  ASSERT_EQ(device.sink.assertions.size(), 1U);
  EXPECT_EQ(device.sink.assertions[0],
            "abc:12: abc: block: [0,0,0], thread: [0,0,0] Assertion `abc` failed.");
  EXPECT_EQ(device.run("k", {1, 1, 1}, {1, 1, 1}, Arguments(2U)).cuda_error, 700);
}

// A refusal of the statement on line 13 of kernel_text().
struct Refused {
  std::string_view body;
  std::string_view opcode;
  std::string_view reason;
};

void PrintTo(const Refused& refused, std::ostream* out) { *out << refused.body; }

class PtxRefusal : public testing::TestWithParam<Refused> {};

TEST_P(PtxRefusal, NamesLineOpcodeAndReason) {
  const Refused& c = GetParam();
  const auto loaded = Module::load(kernel_text("k", ".param .u64 out", c.body));
  EXPECT_EQ(loaded.module, nullptr);
  EXPECT_EQ(loaded.diagnostic.cuda_error, 218);
  EXPECT_EQ(loaded.diagnostic.opcode, c.opcode);
  EXPECT_NE(loaded.diagnostic.message.find(c.reason), std::string::npos)
      << loaded.diagnostic.message;
  EXPECT_NE(loaded.diagnostic.message.find("line 13"), std::string::npos)
      << loaded.diagnostic.message;
}

INSTANTIATE_TEST_SUITE_P(
    Cases, PtxRefusal,
    testing::Values(
        Refused{"\nfrobnicate.u32 %r1, %r2;", "frobnicate.u32", "no such instruction"},
        Refused{"\nadd.magic.u32 %r1, %r2, %r3;", "add.magic.u32", ".magic"},
        Refused{"\nadd.u32 %r1, %rd2, %r3;", "add.u32", "32 bits is expected"},
        Refused{"\nadd.u32 %r1, %r2;", "add.u32", "operands"},
        Refused{"\nmov.u32 %r1, %nonsense;", "mov.u32", "%nonsense"},
        Refused{"\nbra NOWHERE;", "bra", "NOWHERE"},
        Refused{"\ncall.uni missing, ();", "call.uni", "missing"},
        Refused{"\nld.param.u64 %rd1, [out+4];", "ld.param.u64", "leaves parameter"},
        Refused{"\nst.const.u32 [%rd1], %r1;", "st.const.u32", "cannot be written"},
        Refused{"\nwgmma.fence.sync.aligned;", "wgmma.fence.sync.aligned", "no such instruction"},
        Refused{"\ncvt.f32.f64 %f1, %fd1;", "cvt.f32.f64", "rounding"},
        Refused{"\nadd.u32 %r1, %r2 %r3;", "", "';' is expected"}));

TEST(PtxModule, TextThatIsNotPtxIsAnInvalidImage) {
  EXPECT_EQ(Module::load("hello").diagnostic.cuda_error, 200);
  EXPECT_EQ(Module::load("").diagnostic.cuda_error, 200);
  EXPECT_EQ(Module::load(std::string(kHeader) + ".visible .entry k() {").diagnostic.cuda_error,
            218);
}

TEST(PtxModule, NestedScopesHaveNamesOfTheirOwn) {
  Device device;
  ASSERT_TRUE(device.load(kernel_text("k", ".param .u64 out", R"(
    ld.param.u64 %rd0, [out];
    mov.u32 %r1, 1;
    {
      .reg .b32 %r<4>;
      mov.u32 %r1, 50;
      bra L;
      mov.u32 %r1, 60;
    L:
      st.global.u32 [%rd0], %r1;
    }
    {
      bra L;
      mov.u32 %r1, 70;
    L:
      st.global.u32 [%rd0+4], %r1;
    }
    ret;
  )")));
  const std::uint64_t out = device.allocate(8);
  ASSERT_EQ(device.run("k", {1, 1, 1}, {1, 1, 1}, Arguments(out)).cuda_error, 0);
  EXPECT_EQ(device.download<std::uint32_t>(out, 2), (std::vector<std::uint32_t>{50, 1}));
}

}  // namespace
}  // namespace phos::sim::ptx::test
