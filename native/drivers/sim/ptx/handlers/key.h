// SPDX-License-Identifier: Apache-2.0
// What lowering asks for: an operation with everything that selects its handler. The handlers are
// compiled twice (baseline x86-64 and x86-64-v3) and give the same bits.
#pragma once

#include "../execution.h"
#include "../program.h"
#include "../types.h"

namespace phos::sim::ptx {

enum class Op : std::uint8_t {
  // integers and bits (integer.cc, bits.cc)
  add, sub, mul_lo, mul_hi, mul_wide, mad_lo, mad_hi, mad_wide, mad_hi_sat, mul24_lo, mul24_hi,
  mad24_lo, mad24_hi, mad24_hi_sat, add_sat, sub_sat, div, rem, min, max, abs, neg, sad,
  min_relu, max_relu,
  and_, or_, xor_, not_, cnot, lop3, shl, shr, shf_l_wrap, shf_l_clamp, shf_r_wrap, shf_r_clamp,
  popc, clz, brev, bfind, bfind_shift, bfe, bfi, bmsk_clamp, bmsk_wrap, szext_clamp, szext_wrap,
  fns, prmt, prmt_f4e, prmt_b4e, prmt_rc8, prmt_ecl, prmt_ecr, prmt_rc16, dp4a, dp2a_lo, dp2a_hi,
  add_cc, addc, addc_cc, sub_cc, subc, subc_cc, mad_lo_cc, mad_hi_cc, madc_lo, madc_hi,
  madc_lo_cc, madc_hi_cc,
  mov, mov_pred, and_pred, or_pred, xor_pred, not_pred, selp, slct_s32, slct_f32,
  pack, unpack, narrow, load_pred, store_pred,
  // comparisons (compare.cc)
  setp, set,
  // floating point (float.cc, half.cc, approx.cc)
  fadd, fsub, fmul, ffma, ffma_relu, fdiv, fdiv_approx, fdiv_full, frcp, frcp_approx, fsqrt,
  fsqrt_approx, frsqrt_approx, fabs, fneg, fmin, fmax, fmin_nan, fmax_nan, fmin_xorsign,
  fmax_xorsign, fmin_nan_xorsign, fmax_nan_xorsign,
  fex2, flg2, fsin, fcos, ftanh, testp_finite, testp_infinite, testp_number, testp_notanumber,
  testp_normal, testp_subnormal, copysign, frcp64h, frsqrt64h,
  // conversions (convert.cc)
  cvt, cvt_pack, cvt_pack2, cvt_x2,
  // memory (memory.cc, atomic.cc)
  ld, st, ld_param, prefetch, atom, cp_async, cvta_to, cvta_from, isspacep, fence,
  // warp (warp.cc), matrices (matrix.cc), the rest (special.cc)
  shfl, vote, match_any, match_all, redux, activemask, elect, warp_sync_only,
  clock, clock_hi, globaltimer, timer32, alloca, stacksave, stackrestore, nop,
  mma, ldmatrix, stmatrix, wmma_load, wmma_store, movmatrix, video, mbarrier,
};

enum class Compare : std::uint8_t {
  eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan,
};

enum class AtomOp : std::uint8_t {
  add, min, max, inc, dec, exch, cas, and_, or_, xor_,
};

struct Key {
  Op op = Op::nop;
  Type type = Type::none;       // of the operation; of the result where they differ
  Type from = Type::none;       // source type of conversions and comparisons; register type of ld
  Rounding rounding = Rounding::none;
  bool ftz = false;
  bool sat = false;
  bool relu = false;
  std::uint8_t select = 0;      // comparison, atomic operation, shuffle mode ...
  std::uint8_t width = 1;       // elements of a vector
  Space space = Space::generic;
};

// What a general memory access is told in slot e of its instruction.
struct AccessSpec {
  std::uint8_t bytes = 4;       // of an element in memory
  std::uint8_t lane_bytes = 4;  // of a register
  std::uint8_t count = 1;
  Space space = Space::generic;
  bool sign_extend = false;
  bool wide_address = false;
  std::uint32_t packed() const noexcept {
    return std::uint32_t{bytes} | (std::uint32_t{lane_bytes} << 5) | (std::uint32_t{count} << 10) |
           (static_cast<std::uint32_t>(space) << 15) | (sign_extend ? 1U << 20 : 0) |
           (wide_address ? 1U << 21 : 0);
  }
  static AccessSpec unpacked(std::uint32_t bits) noexcept {
    return {static_cast<std::uint8_t>(bits & 31), static_cast<std::uint8_t>((bits >> 5) & 31),
            static_cast<std::uint8_t>((bits >> 10) & 31), static_cast<Space>((bits >> 15) & 31),
            ((bits >> 20) & 1) != 0, ((bits >> 21) & 1) != 0};
  }
};

struct HandlerSet {
  // Null if there is no such operation on this type.
  Handler (*find)(const Key& key);
};

// NOLINTNEXTLINE(readability-identifier-naming)
namespace isa_baseline { Handler find(const Key& key); }
// NOLINTNEXTLINE(readability-identifier-naming)
namespace isa_v3 { Handler find(const Key& key); }

// The handler of the build that is active now.
Handler find_handler(const Key& key);

}  // namespace phos::sim::ptx
