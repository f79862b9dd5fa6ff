// SPDX-License-Identifier: Apache-2.0
// What video instructions are told, packed into the immediate of their instruction.
#pragma once

#include <cstdint>

#include "key.h"

namespace phos::sim::ptx {

enum class VideoOp : std::uint8_t { add, sub, absdiff, min, max, shl, shr, mad, set, average };

// A part of a word: 0 all of it, 1 to 4 a byte from the lowest on, 5 and 6 a half.
using VideoPart = std::uint8_t;

enum class VideoSecond : std::uint8_t { none, merge, add, min, max };

struct VideoSpec {
  VideoOp op = VideoOp::add;
  std::uint8_t lanes = 1;  // parts of a word that are computed side by side: 1, 2 or 4
  bool d_signed = false;
  bool a_signed = false;
  bool b_signed = false;
  bool saturate = false;
  VideoPart d = 0;
  VideoPart a = 0;
  VideoPart b = 0;
  VideoSecond second = VideoSecond::none;
  Compare compare = Compare::eq;
  bool wrap = false;          // shifts
  bool negate_product = false;  // vmad
  bool negate_c = false;
  bool plus_one = false;
  std::uint8_t scale = 0;     // bits that the result of vmad is shifted right

  std::int64_t packed() const noexcept {
    const auto bit = [](bool value, unsigned at) { return std::uint64_t{value} << at; };
    return static_cast<std::int64_t>(
        std::uint64_t{static_cast<std::uint8_t>(op)} | (std::uint64_t{lanes} << 8) |
        bit(d_signed, 16) | bit(a_signed, 17) | bit(b_signed, 18) | bit(saturate, 19) |
        bit(wrap, 20) | bit(negate_product, 21) | bit(negate_c, 22) | bit(plus_one, 23) |
        (std::uint64_t{d} << 24) | (std::uint64_t{a} << 28) | (std::uint64_t{b} << 32) |
        (std::uint64_t{static_cast<std::uint8_t>(second)} << 36) |
        (std::uint64_t{static_cast<std::uint8_t>(compare)} << 40) | (std::uint64_t{scale} << 48));
  }
  static VideoSpec unpacked(std::int64_t imm) noexcept {
    const auto bits = static_cast<std::uint64_t>(imm);
    const auto bit = [bits](unsigned at) { return ((bits >> at) & 1) != 0; };
    const auto field = [bits](unsigned at, unsigned mask) {
      return static_cast<std::uint8_t>((bits >> at) & mask);
    };
    return {static_cast<VideoOp>(field(0, 255)), field(8, 255), bit(16), bit(17), bit(18), bit(19),
            field(24, 15), field(28, 15), field(32, 15), static_cast<VideoSecond>(field(36, 15)),
            static_cast<Compare>(field(40, 255)), bit(20), bit(21), bit(22), bit(23),
            field(48, 255)};
  }
};

}  // namespace phos::sim::ptx
