// SPDX-License-Identifier: Apache-2.0
// Texture and surface instructions: what one of them asks for, and how a lane is served. The rules
// of addressing and filtering are those of the CUDA programming guide, "Texture Fetching".
#pragma once

#include <cstdint>

#include "../../memory/texture_table.h"
#include "warp.h"

namespace phos::sim::ptx {

enum class TextureOp : std::uint8_t { sample, gather, load, store };
enum class Geometry : std::uint8_t { d1, d2, d3, a1d, a2d, cube, acube };
enum class Outside : std::uint8_t { trap, clamp, zero };

// Travels in Instr::imm. Extra slots from Instr::target on: four values, then four coordinates.
struct TextureSpec {
  TextureOp op = TextureOp::sample;
  Geometry geometry = Geometry::d1;
  bool integer_coordinates = false;  // of tex
  std::uint8_t component = 0;        // of tld4
  std::uint8_t count = 4;            // values
  std::uint8_t value_bytes = 4;      // of one value in memory, for surfaces
  std::uint8_t lane_bytes = 4;       // of a register
  Outside outside = Outside::trap;

  std::int64_t packed() const noexcept {
    return static_cast<std::int64_t>(
        static_cast<std::uint64_t>(op) | static_cast<std::uint64_t>(geometry) << 8 |
        std::uint64_t{integer_coordinates ? 1U : 0U} << 16 | std::uint64_t{component} << 24 |
        std::uint64_t{count} << 32 | std::uint64_t{value_bytes} << 40 |
        std::uint64_t{lane_bytes} << 48 | static_cast<std::uint64_t>(outside) << 56);
  }
  static TextureSpec unpacked(std::int64_t bits) noexcept {
    const auto byte = [bits](unsigned at) {
      return static_cast<std::uint8_t>(static_cast<std::uint64_t>(bits) >> (8 * at));
    };
    return {static_cast<TextureOp>(byte(0)), static_cast<Geometry>(byte(1)), byte(2) != 0, byte(3),
            byte(4),                         byte(5),                        byte(6),
            static_cast<Outside>(byte(7))};
  }
};

// Coordinates as the registers hold them: bits of f32 or s32.
struct Coordinates {
  std::uint32_t at[4] = {0, 0, 0, 0};
};

// Four values of 32 bits. False: the memory behind the texture is gone.
bool sample(const Warp& warp, const TextureView& view, const TextureSpec& spec,
            const Coordinates& coordinates, std::uint32_t (&out)[4]);

// Where a surface access leads: memory of `spec.count` values, or null. `outside`: it is not on the
// surface and was not clamped either.
std::byte* surface_place(const Warp& warp, const TextureView& view, const TextureSpec& spec,
                         const Coordinates& coordinates, bool* outside);

// What the driver has behind a number; throws Stop where there is nothing of that kind.
std::shared_ptr<const TextureView> texture_of(const Instr& instr, std::uint32_t lane,
                                              std::uint64_t number, bool surface);

// Serves the lanes of one instruction (texture_lanes.cc).
void run_texture(Warp& warp, const Instr& instr, std::uint32_t mask);

// A topic of lowering, as in lower/lowering.h.
class Lowering;
bool lower_texture(Lowering& lowering);

}  // namespace phos::sim::ptx
