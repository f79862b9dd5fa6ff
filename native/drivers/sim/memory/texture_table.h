// SPDX-License-Identifier: Apache-2.0
// Textures and surfaces as kernels see them: a number, and behind it what is read and how. The
// driver adds and removes them; kernels look them up.
//
// Threads: as for AddressSpace. remove() must not take away what a running kernel may still use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <vector>

namespace phos::sim {

enum class TexelKind : std::uint8_t { natural, integer, half, single };
// Where coordinates outside lead to.
enum class Edge : std::uint8_t { wrap, clamp, mirror, border };

struct TextureView {
  bool is_surface = false;
  // Arrays lie at `host`. Memory that the program allocated is looked up when it is read, so that a
  // texture over memory that was freed is a fault.
  std::byte* host = nullptr;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  // Texels; 0 where there is no such dimension. Layers, and the faces of cubes, are slices.
  std::uint64_t width = 1;
  std::uint64_t height = 0;
  std::uint64_t slices = 1;
  std::uint64_t row_bytes = 0;
  std::uint64_t slice_bytes = 0;
  std::uint32_t channels = 1;
  std::uint32_t channel_bytes = 4;
  TexelKind kind = TexelKind::single;
  // Sampling.
  bool normalized_coordinates = false;
  bool reads_integers = false;  // 8- and 16-bit texels are not made fractions of 1
  bool is_linear_filter = false;
  bool is_srgb = false;
  Edge edges[3] = {Edge::clamp, Edge::clamp, Edge::clamp};
  float border[4] = {0, 0, 0, 0};

  std::uint64_t texel_bytes() const noexcept {
    return std::uint64_t{channels} * channel_bytes;
  }
};

class TextureTable {
 public:
  // The lowest number that is free, from 1; 0: the table is full. Device code keeps it, and a
  // restore asks again until it is given the number that it was.
  std::uint64_t add(std::shared_ptr<const TextureView> view);
  // False: there is none of this number.
  bool remove(std::uint64_t number);
  std::shared_ptr<const TextureView> find(std::uint64_t number) const;
  // Puts in place of every view what `change` makes of it; null leaves it.
  using Change = std::function<std::shared_ptr<const TextureView>(const TextureView&)>;
  void replace_if(const Change& change);

 private:
  static constexpr std::size_t kMaxTextures = 1U << 20;

  mutable std::shared_mutex mutex_;
  std::vector<std::shared_ptr<const TextureView>> views_;
  std::size_t first_free_ = 0;  // nothing before it is free
};

// Those of this process: there is one simulated driver in it.
TextureTable& texture_table() noexcept;

}  // namespace phos::sim
