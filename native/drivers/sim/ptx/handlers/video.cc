// SPDX-License-Identifier: Apache-2.0
// Video instructions: parts of words, computed with 33 bits, saturated, and merged or combined with
// a third operand. Hardware emulates most of them as well; they are rare, so this is one loop that
// is told everything at run time. Semantics: PTX ISA 9.0, 9.7.15.
#include "topics.h"
#include "video.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

__extension__ using Wide = __int128;

s64 extended(u32 word, u32 bits, bool is_signed) {
  const u32 shift = 32 - bits;
  return is_signed ? s64{static_cast<s32>(word << shift) >> shift} : s64{(word << shift) >> shift};
}

s64 part(u32 word, VideoPart which, bool is_signed) {
  if (which == 0) {
    return extended(word, 32, is_signed);
  }
  return which <= 4 ? extended(word >> (8 * (which - 1)), 8, is_signed)
                    : extended(word >> (16 * (which - 5)), 16, is_signed);
}

s64 clamped(s64 value, u32 bits, bool is_signed) {
  const s64 most = is_signed ? (s64{1} << (bits - 1)) - 1 : (s64{1} << bits) - 1;
  const s64 least = is_signed ? -(s64{1} << (bits - 1)) : 0;
  return value > most ? most : value < least ? least : value;
}

bool compared(s64 a, s64 b, Compare compare) {
  switch (compare) {
    case Compare::eq: return a == b;
    case Compare::ne: return a != b;
    case Compare::lt: return a < b;
    case Compare::le: return a <= b;
    case Compare::gt: return a > b;
    default: return a >= b;
  }
}

s64 multiplied(s64 a, s64 b, u32 c, const VideoSpec& s) {
  const bool any_signed = s.a_signed || s.b_signed || s.negate_product || s.negate_c;
  Wide result = static_cast<Wide>(a) * b;
  s64 addend = any_signed ? s64{static_cast<s32>(c)} : s64{c};
  s64 one = s.plus_one ? 1 : 0;
  if (!s.plus_one && s.negate_product) {
    result = ~result;
    one = 1;
  } else if (!s.plus_one && s.negate_c) {
    addend = ~addend;
    one = 1;
  }
  const s64 scaled = static_cast<s64>((result + addend + one) >> s.scale);
  return s.saturate ? clamped(scaled, 32, any_signed) : scaled;
}

s64 computed(s64 a, s64 b, u32 c, const VideoSpec& s) {
  switch (s.op) {
    case VideoOp::add: return a + b;
    case VideoOp::sub: return a - b;
    case VideoOp::absdiff: return a > b ? a - b : b - a;
    case VideoOp::min: return a < b ? a : b;
    case VideoOp::max: return a > b ? a : b;
    case VideoOp::average: return (a + b + (a + b >= 0 ? 1 : 0)) >> 1;
    case VideoOp::set: return compared(a, b, s.compare) ? 1 : 0;
    case VideoOp::mad: return multiplied(a, b, c, s);
    case VideoOp::shl:
    case VideoOp::shr: {
      const u64 by = s.wrap ? static_cast<u64>(b) & 31 : b < 0 || b > 32 ? 32 : static_cast<u64>(b);
      return s.op == VideoOp::shl ? static_cast<s64>(static_cast<u64>(a) << by) : a >> by;
    }
  }
  return 0;
}

u32 one_word(u32 a, u32 b, u32 c, const VideoSpec& s) {
  s64 value = computed(part(a, s.a, s.a_signed), part(b, s.b, s.b_signed), c, s);
  if (s.op == VideoOp::mad) {
    return static_cast<u32>(value);
  }
  if (s.saturate) {
    value = clamped(value, s.d == 0 ? 32 : s.d <= 4 ? 8 : 16, s.d_signed);
  }
  const s64 other = s.d_signed ? s64{static_cast<s32>(c)} : s64{c};
  const s64 word = s.d_signed ? s64{static_cast<s32>(value)} : s64{static_cast<u32>(value)};
  switch (s.second) {
    case VideoSecond::none: return static_cast<u32>(value);
    case VideoSecond::add: return static_cast<u32>(value + other);
    case VideoSecond::min: return static_cast<u32>(word < other ? word : other);
    case VideoSecond::max: return static_cast<u32>(word > other ? word : other);
    case VideoSecond::merge: break;
  }
  const u32 shift = s.d == 0 ? 0 : s.d <= 4 ? 8U * (s.d - 1U) : 16U * (s.d - 5U);
  const u32 field = (s.d == 0 ? ~0U : s.d <= 4 ? 0xffU : 0xffffU) << shift;
  return ((static_cast<u32>(value) << shift) & field) | (c & ~field);
}

u32 side_by_side(u32 a, u32 b, u32 c, const VideoSpec& s) {
  const u32 bits = 32U / s.lanes;
  const u32 field = (1U << bits) - 1;
  u32 merged = 0;
  s64 sum = 0;
  for (u32 k = 0; k < s.lanes; ++k) {
    const u32 shift = k * bits;
    s64 value = computed(extended(a >> shift, bits, s.a_signed),
                         extended(b >> shift, bits, s.b_signed), 0, s);
    if (s.saturate) {
      value = clamped(value, bits, s.d_signed);
    }
    sum += value;
    merged |= (static_cast<u32>(value) & field) << shift;
  }
  return s.second == VideoSecond::add ? static_cast<u32>(sum) + c : merged;
}

void video(Warp& w, const Instr& i, u32 mask) {
  const VideoSpec spec = VideoSpec::unpacked(i.imm);
  const u32* a = slot<u32>(w, i.a);
  const u32* b = slot<u32>(w, i.b);
  const u32* c = i.c == kNoSlot ? nullptr : slot<u32>(w, i.c);
  u32* d = slot<u32>(w, i.d);
  each_active(mask, [&](u32 l) {
    const u32 third = c == nullptr ? 0 : c[l];
    d[l] = spec.lanes == 1 ? one_word(a[l], b[l], third, spec)
                           : side_by_side(a[l], b[l], third, spec);
  });
}

}  // namespace

Handler find_video(const Key& key) { return key.op == Op::video ? video : nullptr; }

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
