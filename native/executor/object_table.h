// SPDX-License-Identifier: Apache-2.0
// Live objects of one client: what the program's handle stands for, and how to make it again.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "executor/digest.h"
#include "gen/handle_types.h"
#include "phos/handle.h"
#include "phos/ring_layout.h"

namespace phos::executor {

// A command as it is kept for restore.
struct SavedCommand {
  std::uint16_t op = 0;
  std::uint64_t context = 0;
  std::vector<std::uint8_t> payload;
  std::uint64_t order = 0;  // changes: when, among creations

  bool operator==(const SavedCommand&) const = default;
};

// Object::state of an event: it has been recorded.
inline constexpr std::uint64_t kEventRecorded = 1;

struct Object {
  HandleType type = HandleType::none;
  std::uint64_t wire = 0;
  void* real = nullptr;
  std::uint64_t creation = 0;  // ascending: a parent's is lower than its children's
  std::vector<std::uint64_t> parents;
  SavedCommand create;
  std::vector<SavedCommand> mutations;
  std::uint64_t value = 0;  // what device code sees of it (an address), compared at restore
  std::uint64_t state = 0;  // of the type's own
  Digest image;             // modules and libraries: their code image in the blob store
  // What the driver was made to place (placement.h).
  bool used = true;               // functions and kernels: false until something needs their code
  bool touched = false;           // libraries: a kernel or variable of it was asked for
  std::set<std::string> variables;  // modules and libraries: whose addresses were asked for
  std::uint64_t owner = 0;        // creation of the module, library or graph that it went with
  // Graphs: what was captured, from its beginning to before its end, which is `create`.
  std::vector<SavedCommand> recipe;
  // Graphs and executable graphs: creations of the graphs that they were made from.
  std::vector<std::uint64_t> made_from;
};

class ObjectTable {
 public:
  // The object of a live handle of that type, else null.
  Object* find(HandleType type, std::uint64_t wire) noexcept {
    if (!is_handle(wire)) return nullptr;
    const std::uint8_t kind = handle_type(wire);
    if (kind != static_cast<std::uint8_t>(type)) return nullptr;
    const std::uint32_t index = handle_index(wire);
    const auto& pages = types_[kind];
    const std::uint32_t page = index / kPageObjects;
    if (page >= pages.size() || pages[page] == nullptr) return nullptr;
    Object* object = (*pages[page])[index % kPageObjects].get();
    return object != nullptr && object->wire == wire ? object : nullptr;
  }
  // Adds an object; null when the handle is malformed or its place is taken.
  Object* add(HandleType type, std::uint64_t wire, void* real);
  // Removes an object. Returns it, so that the caller may keep its record; null when unknown.
  std::unique_ptr<Object> remove(HandleType type, std::uint64_t wire);

  // In the order of creation, which is an order of dependency.
  std::vector<Object*> in_order();
  // Live objects that name `wire` among their parents.
  std::vector<std::uint64_t> children_of(std::uint64_t wire);
  std::size_t size() const noexcept { return size_; }
  std::uint64_t next_creation() noexcept { return ++creation_; }
  // Restore repeats what has its number already: the next one given is `next`.
  void continue_at(std::uint64_t next) noexcept { creation_ = next - 1; }
  std::uint64_t last_creation() const noexcept { return creation_; }
  void clear();

 private:
  static constexpr std::uint32_t kPageObjects = 1024;
  using Page = std::array<std::unique_ptr<Object>, kPageObjects>;

  std::array<std::vector<std::unique_ptr<Page>>, kMaxHandleType + 1> types_;
  std::size_t size_ = 0;
  std::uint64_t creation_ = 0;
};

}  // namespace phos::executor
