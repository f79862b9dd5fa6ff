// SPDX-License-Identifier: Apache-2.0
// What every single- and double-precision operation does around its arithmetic: flushing of
// subnormals, one form of NaN for singles, saturation to [0, 1].
#pragma once

#include "half.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {

inline float flush(float value) {
  const u32 bits = bits_as<u32>(value);
  return (bits & 0x7f800000U) == 0 ? bits_as<float>(bits & 0x80000000U) : value;
}

// PTX says that arithmetic on singles gives the NaN 0x7fffffff whatever the operands were.
inline float canonical(float value) { return value == value ? value : bits_as<float>(kNan32); }
inline double canonical(double value) {
  return value == value ? value : bits_as<double>(u64{0xfff8000000000000});
}

template <class T>
inline T saturated(T value) {
  // NaN fails the first comparison and becomes +0, as PTX wants; so does -0.
  const T positive = value > T{0} ? value : T{0};
  return positive < T{1} ? positive : T{1};
}

enum FloatFlags : u8 { kPlain = 0, kFtz = 1, kSat = 2 };

template <class T, u8 Flags>
inline T input(T value) {
  if constexpr ((Flags & kFtz) != 0 && sizeof(T) == 4) {
    return flush(value);
  } else {
    return value;
  }
}

template <class T, u8 Flags>
inline T output(T value) {
  if constexpr ((Flags & kSat) != 0) {
    value = saturated(value);
    return input<T, Flags>(value);
  } else {
    return canonical(input<T, Flags>(value));
  }
}

// An operation on values, wrapped as above; what `unary` and its kin in lanes.h expect.
template <class Operation, u8 Flags>
struct Around {
  template <class T> static T apply(T a) {
    return output<T, Flags>(Operation::apply(input<T, Flags>(a)));
  }
  template <class T> static T apply(T a, T b) {
    return output<T, Flags>(Operation::apply(input<T, Flags>(a), input<T, Flags>(b)));
  }
  template <class T> static T apply(T a, T b, T c) {
    return output<T, Flags>(Operation::apply(input<T, Flags>(a), input<T, Flags>(b),
                                             input<T, Flags>(c)));
  }
};

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
