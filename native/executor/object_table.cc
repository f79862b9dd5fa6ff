// SPDX-License-Identifier: Apache-2.0
#include "executor/object_table.h"

#include <algorithm>

namespace phos::executor {

Object* ObjectTable::add(HandleType type, std::uint64_t wire, void* real) {
  if (!is_handle(wire) || handle_type(wire) != static_cast<std::uint8_t>(type) ||
      handle_type(wire) > kMaxHandleType) {
    return nullptr;
  }
  const std::uint32_t index = handle_index(wire);
  auto& pages = types_[handle_type(wire)];
  const std::uint32_t page = index / kPageObjects;
  // At most 1024 pages a type: handle_index() has 20 bits.
  if (page >= pages.size()) pages.resize(page + 1);
  if (pages[page] == nullptr) pages[page] = std::make_unique<Page>();
  std::unique_ptr<Object>& place = (*pages[page])[index % kPageObjects];
  if (place != nullptr) return nullptr;
  place = std::make_unique<Object>();
  place->type = type;
  place->wire = wire;
  place->real = real;
  place->creation = next_creation();
  place->used = type != HandleType::function && type != HandleType::kernel;
  ++size_;
  return place.get();
}

std::unique_ptr<Object> ObjectTable::remove(HandleType type, std::uint64_t wire) {
  if (find(type, wire) == nullptr) return nullptr;
  const std::uint32_t index = handle_index(wire);
  auto& page = *types_[handle_type(wire)][index / kPageObjects];
  --size_;
  return std::move(page[index % kPageObjects]);
}

std::vector<Object*> ObjectTable::in_order() {
  std::vector<Object*> all;
  all.reserve(size_);
  for (auto& pages : types_) {
    for (auto& page : pages) {
      if (page == nullptr) continue;
      for (auto& object : *page) {
        if (object != nullptr) all.push_back(object.get());
      }
    }
  }
  std::sort(all.begin(), all.end(),
            [](const Object* a, const Object* b) { return a->creation < b->creation; });
  return all;
}

std::vector<std::uint64_t> ObjectTable::children_of(std::uint64_t wire) {
  std::vector<std::uint64_t> children;
  for (const Object* object : in_order()) {
    if (std::find(object->parents.begin(), object->parents.end(), wire) !=
        object->parents.end()) {
      children.push_back(object->wire);
    }
  }
  return children;
}

void ObjectTable::clear() {
  for (auto& pages : types_) pages.clear();
  size_ = 0;
}

}  // namespace phos::executor
