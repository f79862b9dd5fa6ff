// SPDX-License-Identifier: Apache-2.0
#include "executor/blob_store.h"

#include <utility>

namespace phos::executor {

bool BlobStore::piece(std::uint64_t number, std::uint64_t total, std::uint64_t offset,
                      const void* data, std::uint64_t bytes) {
  if (total == 0 || total > kMaxImageBytes || bytes == 0 || offset > total ||
      bytes > total - offset) {
    return false;
  }
  if (offset == 0) {
    const auto old = arriving_.find(number);
    if (old != arriving_.end()) arriving_bytes_ -= old->second.bytes.size();
    arriving_[number] = Arriving{{}, total};
  }
  const auto found = arriving_.find(number);
  if (found == arriving_.end()) return false;
  Arriving& image = found->second;
  if (image.total != total || image.bytes.size() != offset ||
      arriving_bytes_ + bytes > kMaxImageBytes) {
    return false;
  }
  const auto* from = static_cast<const std::uint8_t*>(data);
  image.bytes.insert(image.bytes.end(), from, from + bytes);
  arriving_bytes_ += bytes;
  if (image.bytes.size() != total) return true;
  arriving_bytes_ -= total;
  complete_[number] = std::make_shared<const std::vector<std::uint8_t>>(std::move(image.bytes));
  arriving_.erase(found);
  return true;
}

Blob BlobStore::take(std::uint64_t number) {
  const auto found = complete_.find(number);
  if (found == complete_.end()) return nullptr;
  Blob image = std::move(found->second);
  complete_.erase(found);
  return image;
}

void BlobStore::put(std::uint64_t number, Blob image) { complete_[number] = std::move(image); }

Digest BlobStore::keep(const Blob& image) {
  const Digest digest = digest_of(image->data(), image->size());
  kept_.emplace(digest, image);
  return digest;
}

Blob BlobStore::find(const Digest& digest) const {
  const auto found = kept_.find(digest);
  return found == kept_.end() ? nullptr : found->second;
}

void BlobStore::clear() {
  arriving_.clear();
  complete_.clear();
  kept_.clear();
  arriving_bytes_ = 0;
}

}  // namespace phos::executor
