// SPDX-License-Identifier: Apache-2.0
// Arithmetic rounded toward zero, down or up. The processor's own rounding control makes it exact;
// it is set around the loop over lanes, whose operands and results are in memory, so the compiler
// cannot move the arithmetic across. This file is compiled with -frounding-math.
#include <immintrin.h>

#include "float.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

class RoundingScope {
 public:
  explicit RoundingScope(Rounding rounding) : saved_(_mm_getcsr()) {
    const unsigned bits = rounding == Rounding::rz ? _MM_ROUND_TOWARD_ZERO
                          : rounding == Rounding::rm ? _MM_ROUND_DOWN : _MM_ROUND_UP;
    _mm_setcsr((saved_ & ~static_cast<unsigned>(_MM_ROUND_MASK)) | bits);
    __asm__ volatile("" ::: "memory");
  }
  ~RoundingScope() {
    __asm__ volatile("" ::: "memory");
    _mm_setcsr(saved_);
  }
  RoundingScope(const RoundingScope&) = delete;
  RoundingScope& operator=(const RoundingScope&) = delete;

 private:
  unsigned saved_;
};

enum class Do : u8 { add, sub, mul, fma, div, rcp, sqrt };

template <Do What, class T>
inline T compute(T a, T b, T c) {
  if constexpr (What == Do::add) return a + b;
  if constexpr (What == Do::sub) return a - b;
  if constexpr (What == Do::mul) return a * b;
  if constexpr (What == Do::div) return a / b;
  if constexpr (What == Do::rcp) return T{1} / a;
  if constexpr (What == Do::sqrt) {
    if constexpr (sizeof(T) == 4) return __builtin_sqrtf(a);
    else return __builtin_sqrt(a);
  }
  if constexpr (What == Do::fma) {
    // The library's fma honours the rounding mode where the processor has no such instruction.
    if constexpr (sizeof(T) == 4) return __builtin_fmaf(a, b, c);
    else return __builtin_fma(a, b, c);
  }
  return a;
}

template <Do What, class T, Rounding R, u8 Flags>
void rounded(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  constexpr bool one_operand = What == Do::rcp || What == Do::sqrt;
  const T* b = one_operand ? a : slot<T>(w, i.b);
  const T* c = What == Do::fma ? slot<T>(w, i.c) : a;
  alignas(32) T result[kLanes];
  {
    const RoundingScope scope(R);
    for (u32 l = 0; l < kLanes; ++l) {
      result[l] = compute<What, T>(input<T, Flags>(a[l]), input<T, Flags>(b[l]),
                                   input<T, Flags>(c[l]));
    }
    __asm__ volatile("" : : "r"(result) : "memory");
  }
  each(d, mask, [&](u32 l) { return output<T, Flags>(result[l]); });
}

template <Do What, class T, Rounding R>
Handler flagged(const Key& key) {
  if constexpr (sizeof(T) == 8) {
    return rounded<What, T, R, kPlain>;
  } else {
    const u8 flags = static_cast<u8>((key.ftz ? kFtz : 0) | (key.sat ? kSat : 0));
    return flags == kPlain ? rounded<What, T, R, kPlain>
           : flags == kFtz ? rounded<What, T, R, kFtz>
           : flags == kSat ? rounded<What, T, R, kSat> : rounded<What, T, R, kFtz | kSat>;
  }
}

template <Do What, class T>
Handler moded(const Key& key) {
  switch (key.rounding) {
    case Rounding::rz: return flagged<What, T, Rounding::rz>(key);
    case Rounding::rm: return flagged<What, T, Rounding::rm>(key);
    case Rounding::rp: return flagged<What, T, Rounding::rp>(key);
    default: return nullptr;
  }
}

template <class T>
Handler typed(const Key& key) {
  switch (key.op) {
    case Op::fadd: return moded<Do::add, T>(key);
    case Op::fsub: return moded<Do::sub, T>(key);
    case Op::fmul: return moded<Do::mul, T>(key);
    case Op::ffma: return moded<Do::fma, T>(key);
    case Op::fdiv: return moded<Do::div, T>(key);
    case Op::frcp: return moded<Do::rcp, T>(key);
    case Op::fsqrt: return moded<Do::sqrt, T>(key);
    default: return nullptr;
  }
}

}  // namespace

Handler find_rounded(const Key& key) {
  return key.type == Type::f32 ? typed<float>(key)
         : key.type == Type::f64 ? typed<double>(key) : nullptr;
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
