// SPDX-License-Identifier: Apache-2.0
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

constexpr std::pair<std::string_view, Rounding> kRoundings[] = {
    {"rn", Rounding::rn},   {"rz", Rounding::rz},   {"rm", Rounding::rm},
    {"rp", Rounding::rp},   {"rna", Rounding::rna}, {"rni", Rounding::rni},
    {"rzi", Rounding::rzi}, {"rmi", Rounding::rmi}, {"rpi", Rounding::rpi},
};

// They say for whom, how soon and where to keep it. One device that is always coherent keeps all
// of them.
constexpr std::string_view kHints[] = {
    "cta", "cluster", "gpu", "sys", "weak", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc",
    "L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last",
    "L1::no_allocate", "L2::64B", "L2::128B", "L2::256B", "L2::evict_last", "L2::evict_first",
    "L2::evict_normal",
};

}  // namespace

bool Modifiers::take(std::string_view name) {
  for (std::size_t i = 0; i < form_->modifiers.size() && i < 64; ++i) {
    if ((taken_ >> i & 1) == 0 && form_->modifiers[i] == name) {
      taken_ |= std::uint64_t{1} << i;
      return true;
    }
  }
  return false;
}

int Modifiers::take_one_of(std::initializer_list<std::string_view> names) {
  int index = 0;
  for (const std::string_view name : names) {
    if (take(name)) {
      return index;
    }
    ++index;
  }
  return -1;
}

Type Modifiers::take_type() {
  for (std::size_t i = 0; i < form_->modifiers.size() && i < 64; ++i) {
    if ((taken_ >> i & 1) == 0) {
      const Type type = type_named(form_->modifiers[i]);
      if (type != Type::none) {
        taken_ |= std::uint64_t{1} << i;
        return type;
      }
    }
  }
  return Type::none;
}

Rounding Modifiers::take_rounding() {
  for (const auto& [name, rounding] : kRoundings) {
    if (take(name)) {
      return rounding;
    }
  }
  return Rounding::none;
}

void Modifiers::take_hints() {
  for (const std::string_view hint : kHints) {
    while (take(hint)) {
    }
  }
}

std::string_view Modifiers::left_over() const {
  for (std::size_t i = 0; i < form_->modifiers.size(); ++i) {
    if (i >= 64 || (taken_ >> i & 1) == 0) {
      return form_->modifiers[i];
    }
  }
  return {};
}

}  // namespace phos::sim::ptx
