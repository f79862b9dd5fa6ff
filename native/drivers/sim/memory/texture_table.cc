// SPDX-License-Identifier: Apache-2.0
#include "texture_table.h"

#include <mutex>
#include <utility>

namespace phos::sim {

std::uint64_t TextureTable::add(std::shared_ptr<const TextureView> view) {
  const std::unique_lock lock(mutex_);
  while (first_free_ < views_.size() && views_[first_free_] != nullptr) {
    ++first_free_;
  }
  if (first_free_ == kMaxTextures) {
    return 0;
  }
  if (first_free_ == views_.size()) {
    views_.emplace_back();
  }
  views_[first_free_] = std::move(view);
  return ++first_free_;
}

bool TextureTable::remove(std::uint64_t number) {
  const std::unique_lock lock(mutex_);
  if (number == 0 || number > views_.size() || views_[number - 1] == nullptr) {
    return false;
  }
  views_[number - 1] = nullptr;
  first_free_ = number - 1 < first_free_ ? number - 1 : first_free_;
  return true;
}

std::shared_ptr<const TextureView> TextureTable::find(std::uint64_t number) const {
  const std::shared_lock lock(mutex_);
  return number == 0 || number > views_.size() ? nullptr : views_[number - 1];
}

void TextureTable::replace_if(const Change& change) {
  const std::unique_lock lock(mutex_);
  for (std::shared_ptr<const TextureView>& view : views_) {
    if (view == nullptr) {
      continue;
    }
    if (std::shared_ptr<const TextureView> other = change(*view)) {
      view = std::move(other);
    }
  }
}

TextureTable& texture_table() noexcept {
  // Never destroyed: the CUDA runtime calls in from its own exit handlers.
  static auto* const table = new TextureTable;
  return *table;
}

}  // namespace phos::sim
