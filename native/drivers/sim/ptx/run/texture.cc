// SPDX-License-Identifier: Apache-2.0
#include "texture.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "runner.h"

namespace phos::sim::ptx {
namespace {

constexpr float kFractions = 256;  // filter weights are fixed point with 8 bits of fraction

float from_half(std::uint16_t bits) noexcept {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000U} << 16;
  const std::uint32_t exponent = (bits >> 10) & 31U;
  const std::uint32_t fraction = bits & 0x3ffU;
  if (exponent == 0) {
    const float value = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -value : value;
  }
  const std::uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

float from_srgb(float value) noexcept {
  return value <= 0.04045F ? value / 12.92F : std::pow((value + 0.055F) / 1.055F, 2.4F);
}

struct Texel {
  std::uint32_t bits[4] = {0, 0, 0, 0};  // integers, extended to 32 bits, or f32
  float value(unsigned channel) const noexcept { return std::bit_cast<float>(bits[channel]); }
  void set(unsigned channel, float value) noexcept {
    bits[channel] = std::bit_cast<std::uint32_t>(value);
  }
};

// True where a texel is read as a fraction of 1.
bool is_fraction(const TextureView& view) noexcept {
  return !view.reads_integers && view.channel_bytes < 4 &&
         (view.kind == TexelKind::natural || view.kind == TexelKind::integer);
}

bool gives_floats(const TextureView& view) noexcept {
  return is_fraction(view) || view.kind == TexelKind::half || view.kind == TexelKind::single;
}

Texel decode(const TextureView& view, const std::byte* from) noexcept {
  Texel texel;
  for (unsigned c = 0; c < view.channels; ++c) {
    std::uint32_t raw = 0;
    std::memcpy(&raw, from + c * view.channel_bytes, view.channel_bytes);
    const unsigned bits = 8 * view.channel_bytes;
    if (view.kind == TexelKind::half) {
      texel.set(c, from_half(static_cast<std::uint16_t>(raw)));
    } else if (view.kind == TexelKind::integer) {
      const auto value = static_cast<std::int32_t>(raw << (32 - bits)) >> (32 - bits);
      texel.bits[c] = static_cast<std::uint32_t>(value);
      if (is_fraction(view)) {
        const auto most = static_cast<float>((1U << (bits - 1)) - 1);
        texel.set(c, std::max(static_cast<float>(value) / most, -1.0F));
      }
    } else if (view.kind == TexelKind::natural && is_fraction(view)) {
      const float value = static_cast<float>(raw) / static_cast<float>((1U << bits) - 1);
      texel.set(c, view.is_srgb && c < 3 && bits == 8 ? from_srgb(value) : value);
    } else {
      texel.bits[c] = raw;
    }
  }
  return texel;
}

Texel border_of(const TextureView& view) noexcept {
  Texel texel;
  for (unsigned c = 0; c < 4; ++c) {
    if (gives_floats(view)) texel.set(c, view.border[c]);
    else texel.bits[c] = static_cast<std::uint32_t>(static_cast<std::int64_t>(view.border[c]));
  }
  return texel;
}

// An index of a texel, brought inside; -1: the border's colour.
std::int64_t bring_in(std::int64_t index, std::uint64_t size, Edge edge, bool normalized) noexcept {
  const auto count = static_cast<std::int64_t>(size);
  if (index >= 0 && index < count) return index;
  if (edge == Edge::border) return -1;
  if (edge == Edge::clamp || !normalized) return index < 0 ? 0 : count - 1;
  const std::int64_t period = edge == Edge::mirror ? 2 * count : count;
  std::int64_t rest = index % period;
  if (rest < 0) rest += period;
  return rest < count ? rest : period - 1 - rest;
}

// The texels on either side of a coordinate and the weight of the second.
struct Footprint {
  std::int64_t first = 0;
  float weight = 0;
};

constexpr float kFarAway = 1e9F;  // further out all edges say the same

Footprint footprint(float coordinate, std::uint64_t size, bool normalized, bool linear) noexcept {
  float x = normalized ? coordinate * static_cast<float>(size) : coordinate;
  if (!(x > -kFarAway)) x = x != x ? 0 : -kFarAway;
  if (x > kFarAway) x = kFarAway;
  if (linear) x -= 0.5F;
  const float whole = std::floor(x);
  Footprint result;
  result.first = static_cast<std::int64_t>(whole);
  if (linear) {
    result.weight = std::floor((x - whole) * kFractions + 0.5F) / kFractions;
    if (result.weight >= 1) result = {result.first + 1, 0};
  }
  return result;
}

class Sampler {
 public:
  Sampler(const TextureView& view, const std::byte* base) : view_(view), base_(base) {}

  Texel at(std::int64_t x, std::int64_t y, std::int64_t z) const noexcept {
    const bool normalized = view_.normalized_coordinates;
    x = bring_in(x, view_.width, view_.edges[0], normalized);
    // What has one row has no other, whatever the instruction's geometry says.
    y = view_.height == 0 ? 0 : bring_in(y, view_.height, view_.edges[1], normalized);
    if (is_volume) z = bring_in(z, view_.slices, view_.edges[2], normalized);
    if (x < 0 || y < 0 || z < 0) return border_of(view_);
    return decode(view_, base_ + static_cast<std::uint64_t>(z) * view_.slice_bytes +
                             static_cast<std::uint64_t>(y) * view_.row_bytes +
                             static_cast<std::uint64_t>(x) * view_.texel_bytes());
  }

  bool is_volume = false;

 private:
  const TextureView& view_;
  const std::byte* base_;
};

Texel mix(const Texel& a, const Texel& b, float weight) noexcept {
  Texel result;
  for (unsigned c = 0; c < 4; ++c) {
    result.set(c, (1 - weight) * a.value(c) + weight * b.value(c));
  }
  return result;
}

// Which face a direction leads to, and where on it: the table of the programming guide.
unsigned face_of(float x, float y, float z, float& s, float& t) noexcept {
  const float ax = std::fabs(x);
  const float ay = std::fabs(y);
  const float az = std::fabs(z);
  float m = az;
  unsigned face = z < 0 ? 5 : 4;
  s = z < 0 ? -x : x;
  t = -y;
  if (ax >= ay && ax >= az) {
    m = ax;
    face = x < 0 ? 1 : 0;
    s = x < 0 ? z : -z;
    t = -y;
  } else if (ay >= az) {
    m = ay;
    face = y < 0 ? 3 : 2;
    s = x;
    t = y < 0 ? -z : z;
  }
  s = (s / m + 1) / 2;
  t = (t / m + 1) / 2;
  return face;
}

struct Position {
  float x = 0;
  float y = 0;
  float z = 0;
  std::int64_t slice = 0;  // of layers and cubes
};

Position position_of(const TextureView& view, const TextureSpec& spec, const Coordinates& from) {
  const auto number = [&](unsigned at) {
    return spec.integer_coordinates ? static_cast<float>(static_cast<std::int32_t>(from.at[at]))
                                    : std::bit_cast<float>(from.at[at]);
  };
  const bool layered = spec.geometry == Geometry::a1d || spec.geometry == Geometry::a2d ||
                       spec.geometry == Geometry::acube;
  const unsigned first = layered ? 1 : 0;
  Position result;
  result.x = number(first);
  if (spec.geometry != Geometry::d1 && spec.geometry != Geometry::a1d) result.y = number(first + 1);
  if (spec.geometry == Geometry::d3) result.z = number(2);
  const bool cube = spec.geometry == Geometry::cube || spec.geometry == Geometry::acube;
  const auto slices = static_cast<std::int64_t>(view.slices);
  if (layered) {
    const std::int64_t layers = cube ? std::max<std::int64_t>(slices / 6, 1) : slices;
    result.slice = std::clamp<std::int64_t>(static_cast<std::int32_t>(from.at[0]), 0, layers - 1);
  }
  if (cube) {
    const unsigned face = face_of(result.x, result.y, number(first + 2), result.x, result.y);
    result.slice = std::min(result.slice * 6 + face, slices - 1);
  }
  return result;
}

const std::byte* base_of(const Warp& warp, const TextureView& view) {
  return view.host != nullptr ? view.host
                              : warp.runner->memory().resolve(view.address, view.bytes);
}

// The four texels around a place, in the order in which tld4 gives them.
void gather(const Sampler& sampler, const TextureView& view, const TextureSpec& spec,
            const Position& at, std::uint32_t (&out)[4]) noexcept {
  const std::int64_t x = footprint(at.x, view.width, view.normalized_coordinates, true).first;
  const std::int64_t y = footprint(at.y, view.height, view.normalized_coordinates, true).first;
  out[0] = sampler.at(x, y + 1, at.slice).bits[spec.component];
  out[1] = sampler.at(x + 1, y + 1, at.slice).bits[spec.component];
  out[2] = sampler.at(x + 1, y, at.slice).bits[spec.component];
  out[3] = sampler.at(x, y, at.slice).bits[spec.component];
}

Texel filtered(const Sampler& sampler, const TextureView& view, const Position& at) noexcept {
  const bool linear = view.is_linear_filter && gives_floats(view);
  const bool normalized = view.normalized_coordinates;
  const Footprint x = footprint(at.x, view.width, normalized, linear);
  const Footprint y = view.height == 0 ? Footprint{}
                                       : footprint(at.y, view.height, normalized, linear);
  const Footprint z = sampler.is_volume ? footprint(at.z, view.slices, normalized, linear)
                                        : Footprint{at.slice, 0};
  const auto row = [&](std::int64_t j, std::int64_t k) {
    const Texel left = sampler.at(x.first, j, k);
    return x.weight == 0 ? left : mix(left, sampler.at(x.first + 1, j, k), x.weight);
  };
  const auto plane = [&](std::int64_t k) {
    const Texel upper = row(y.first, k);
    return y.weight == 0 ? upper : mix(upper, row(y.first + 1, k), y.weight);
  };
  const Texel front = plane(z.first);
  return z.weight == 0 ? front : mix(front, plane(z.first + 1), z.weight);
}

}  // namespace

bool sample(const Warp& warp, const TextureView& view, const TextureSpec& spec,
            const Coordinates& coordinates, std::uint32_t (&out)[4]) {
  const std::byte* base = base_of(warp, view);
  if (base == nullptr) return false;
  if (spec.integer_coordinates && spec.geometry == Geometry::d1) {  // tex1Dfetch
    const auto index = static_cast<std::int32_t>(coordinates.at[0]);
    Texel texel;
    if (index >= 0 && static_cast<std::uint64_t>(index) < view.width) {
      texel = decode(view, base + static_cast<std::uint64_t>(index) * view.texel_bytes());
    }
    std::memcpy(out, texel.bits, sizeof out);
    return true;
  }
  const Position at = position_of(view, spec, coordinates);
  Sampler sampler(view, base);
  sampler.is_volume = spec.geometry == Geometry::d3;
  if (spec.op == TextureOp::gather) {
    gather(sampler, view, spec, at, out);
    return true;
  }
  const Texel texel = filtered(sampler, view, at);
  std::memcpy(out, texel.bits, sizeof out);
  return true;
}

std::byte* surface_place(const Warp& warp, const TextureView& view, const TextureSpec& spec,
                         const Coordinates& coordinates, bool* outside) {
  const bool layered = spec.geometry == Geometry::a1d || spec.geometry == Geometry::a2d;
  const unsigned first = layered ? 1 : 0;
  const auto number = [&](unsigned at) {
    return std::int64_t{static_cast<std::int32_t>(coordinates.at[at])};
  };
  const bool flat = spec.geometry == Geometry::d1 || spec.geometry == Geometry::a1d;
  const std::int64_t bytes = std::int64_t{spec.count} * spec.value_bytes;
  const auto row = static_cast<std::int64_t>(view.width * view.texel_bytes());
  std::int64_t x = number(first);
  std::int64_t y = flat ? 0 : number(first + 1);
  std::int64_t z = layered ? number(0) : spec.geometry == Geometry::d3 ? number(2) : 0;
  const auto rows = static_cast<std::int64_t>(std::max<std::uint64_t>(view.height, 1));
  const auto slices = static_cast<std::int64_t>(view.slices);
  const bool inside = x >= 0 && x + bytes <= row && y >= 0 && y < rows && z >= 0 && z < slices;
  *outside = !inside && spec.outside != Outside::clamp;
  if (*outside) return nullptr;
  x = std::clamp<std::int64_t>(x, 0, std::max<std::int64_t>(row - bytes, 0));
  y = std::clamp<std::int64_t>(y, 0, rows - 1);
  z = std::clamp<std::int64_t>(z, 0, slices - 1);
  std::byte* base = view.host != nullptr
                        ? view.host
                        : warp.runner->memory().resolve(view.address, view.bytes);
  if (base == nullptr) return nullptr;
  return base + static_cast<std::uint64_t>(z) * view.slice_bytes +
         static_cast<std::uint64_t>(y) * view.row_bytes + static_cast<std::uint64_t>(x);
}

std::shared_ptr<const TextureView> texture_of(const Instr& instr, std::uint32_t lane,
                                              std::uint64_t number, bool surface) {
  std::shared_ptr<const TextureView> view = texture_table().find(number);
  if (view == nullptr || view->is_surface != surface) {
    stop(instr, kErrorIllegalAddress, lane, number,
         surface ? "there is no such surface object" : "there is no such texture object");
  }
  return view;
}

}  // namespace phos::sim::ptx
