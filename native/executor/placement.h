// SPDX-License-Identifier: Apache-2.0
// In which order the driver was made to place things where device code sees them.
//
// A driver that loads lazily gives a library's variables and a function's code their addresses when
// they are first used, not when the library is loaded. Where something lies follows from what came
// before it, so a restore repeats first uses, look-ups of variables and unloading in the program's
// own order, among the creation of objects and their changes. All of these are numbered by one
// counter, ObjectTable::next_creation().
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "executor/object_table.h"

namespace phos::executor {

enum class PlacementKind : std::uint8_t {
  use = 1,       // a function or kernel was needed for the first time
  variable = 2,  // a variable's address was asked for
  unload = 3,    // a module, library or graph went
  change = 4,    // of the context itself: `command`
};
inline constexpr std::uint8_t kMaxPlacementKind = 4;

struct Placement {
  std::uint64_t order = 0;
  PlacementKind kind = PlacementKind::use;
  HandleType type = HandleType::none;  // of what was used or unloaded, or holds the variable
  std::uint64_t wire = 0;
  std::uint64_t owner = 0;  // creation of the module or library; handles are used again
  std::string name;         // of the variable
  SavedCommand command;
};

// Modules and libraries that went and are still remembered; then the oldest are forgotten, and a
// restore may have to refuse.
inline constexpr std::size_t kMaxPlaceholders = 4096;

bool is_code(HandleType type) noexcept;
bool is_function(HandleType type) noexcept;

class PlacementHistory {
 public:
  explicit PlacementHistory(ObjectTable& objects) : objects_(objects) {}

  // Before the first use. `object` is a function or kernel.
  void used(Object& object);
  // After a successful look-up in a module or library.
  void looked_up(Object& object, const std::string& name);
  // The module or library has left the table with everything found in it.
  void unloaded(std::vector<std::unique_ptr<Object>> gone);
  // A graph has left the table with its nodes: it is remembered while something made from it lives.
  void graph_destroyed(std::vector<std::unique_ptr<Object>> gone);
  // Something made from a graph went: graphs that nothing needs any more are forgotten.
  void forget_graphs();
  // A change of the context; of two changes of the same thing the last one counts.
  void changed(SavedCommand command, std::uint64_t kind);

  const std::vector<Placement>& entries() const noexcept { return entries_; }
  // Modules, libraries and graphs that went, with their functions, kernels and nodes.
  const std::vector<std::unique_ptr<Object>>& gone() const noexcept { return gone_; }

 private:
  Object* owner_of(const Object& object);
  bool is_needed(std::uint64_t graph);
  void remember(std::vector<std::unique_ptr<Object>> gone);
  void forget(std::uint64_t owner);

  ObjectTable& objects_;
  std::vector<Placement> entries_;  // ascending by order
  std::vector<std::unique_ptr<Object>> gone_;
  std::vector<std::uint64_t> kinds_;  // of the changes of the context, in their order
  std::size_t owners_gone_ = 0;
};

// Two changes of this kind set the same thing.
std::uint64_t kind_of_change(const SavedCommand& change) noexcept;

}  // namespace phos::executor
