// SPDX-License-Identifier: Apache-2.0
// Extended-precision arithmetic: the carry of each lane is a bit of the warp's condition word.
// After a subtraction the bit is the borrow.
#include "lanes.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

template <class T>
struct Sum {
  T value;
  bool carry;
};

template <class T>
Sum<T> add(T a, T b, bool carry) {
  const T partial = static_cast<T>(a + b);
  const T value = static_cast<T>(partial + (carry ? 1 : 0));
  return {value, partial < a || value < partial};
}

template <class T>
Sum<T> subtract(T a, T b, bool borrow) {
  const T partial = static_cast<T>(a - b);
  const T value = static_cast<T>(partial - (borrow ? 1 : 0));
  return {value, a < b || partial < value};
}

template <class T>
T high(T a, T b) {
  __extension__ using Wide = std::conditional_t<sizeof(T) == 8, unsigned __int128, u64>;
  return static_cast<T>((static_cast<Wide>(a) * b) >> (8 * sizeof(T)));
}

template <class T>
T signed_high(T a, T b) {
  using S = std::make_signed_t<T>;
  T result = high(a, b);
  result = static_cast<T>(result - (static_cast<S>(a) < 0 ? b : 0));
  return static_cast<T>(result - (static_cast<S>(b) < 0 ? a : 0));
}

enum class Product : u8 { none, low, high, signed_high };

template <class T, Product P, bool Subtract, bool In, bool Out>
void chain(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  const T* c = P == Product::none ? b : slot<T>(w, i.c);
  u32 carries = w.carry;
  each_active(mask, [&](u32 l) {
    const bool in = In && ((carries >> l) & 1) != 0;
    Sum<T> sum;
    if constexpr (P == Product::none) {
      sum = Subtract ? subtract(a[l], b[l], in) : add(a[l], b[l], in);
    } else {
      const T product = P == Product::low ? static_cast<T>(a[l] * b[l])
                        : P == Product::high ? high(a[l], b[l]) : signed_high(a[l], b[l]);
      sum = add(product, c[l], in);
    }
    d[l] = sum.value;
    if (Out) {
      carries = (carries & ~(1U << l)) | (sum.carry ? 1U << l : 0);
    }
  });
  w.carry = carries;
}

template <Product P, bool Subtract, bool In, bool Out>
Handler of(Type type) {
  return bytes_of(type) == 8 ? chain<u64, P, Subtract, In, Out>
                             : chain<u32, P, Subtract, In, Out>;
}

template <bool In, bool Out>
Handler high_of(Type type) {
  return is_signed(type) ? of<Product::signed_high, false, In, Out>(type)
                         : of<Product::high, false, In, Out>(type);
}

}  // namespace

Handler find_carry(const Key& key) {
  switch (key.op) {
    case Op::add_cc: return of<Product::none, false, false, true>(key.type);
    case Op::addc: return of<Product::none, false, true, false>(key.type);
    case Op::addc_cc: return of<Product::none, false, true, true>(key.type);
    case Op::sub_cc: return of<Product::none, true, false, true>(key.type);
    case Op::subc: return of<Product::none, true, true, false>(key.type);
    case Op::subc_cc: return of<Product::none, true, true, true>(key.type);
    case Op::mad_lo_cc: return of<Product::low, false, false, true>(key.type);
    case Op::madc_lo: return of<Product::low, false, true, false>(key.type);
    case Op::madc_lo_cc: return of<Product::low, false, true, true>(key.type);
    case Op::mad_hi_cc: return high_of<false, true>(key.type);
    case Op::madc_hi: return high_of<true, false>(key.type);
    case Op::madc_hi_cc: return high_of<true, true>(key.type);
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
