// SPDX-License-Identifier: Apache-2.0
#include "types.h"

#include <array>
#include <utility>

namespace phos::sim::ptx {
namespace {

constexpr std::array<std::pair<std::string_view, Type>, 41> kNames = {{
    {"pred", Type::pred},     {"b8", Type::b8},         {"b16", Type::b16},
    {"b32", Type::b32},       {"b64", Type::b64},       {"b128", Type::b128},
    {"u8", Type::u8},         {"u16", Type::u16},       {"u32", Type::u32},
    {"u64", Type::u64},       {"s8", Type::s8},         {"s16", Type::s16},
    {"s32", Type::s32},       {"s64", Type::s64},       {"f16", Type::f16},
    {"bf16", Type::bf16},     {"f32", Type::f32},       {"f64", Type::f64},
    {"f16x2", Type::f16x2},   {"bf16x2", Type::bf16x2}, {"f32x2", Type::f32x2},
    {"u16x2", Type::u16x2},   {"s16x2", Type::s16x2},   {"u8x4", Type::u8x4},
    {"s8x4", Type::s8x4},     {"tf32", Type::tf32},     {"e4m3", Type::e4m3},
    {"e5m2", Type::e5m2},     {"e4m3x2", Type::e4m3x2}, {"e5m2x2", Type::e5m2x2},
    {"e2m1x2", Type::e2m1x2}, {"e2m3x2", Type::e2m3x2}, {"e3m2x2", Type::e3m2x2},
    {"ue8m0x2", Type::ue8m0x2}, {"b1", Type::b1},       {"u4", Type::u4},
    {"s4", Type::s4},         {"texref", Type::b64},    {"samplerref", Type::b64},
    {"surfref", Type::b64},   {"", Type::none},
}};

}  // namespace

Type type_named(std::string_view name) noexcept {
  for (const auto& [text, type] : kNames) {
    if (text == name) {
      return type;
    }
  }
  return Type::none;
}

std::string_view name_of(Type type) noexcept {
  for (const auto& [text, known] : kNames) {
    if (known == type) {
      return text;
    }
  }
  return "";
}

}  // namespace phos::sim::ptx
