// SPDX-License-Identifier: Apache-2.0
#include "executor/placement.h"

#include <algorithm>
#include <cstring>

#include "gen/call_ids.h"
#include "gen/codec.h"

namespace phos::executor {

namespace {

// By order. What a restore repeats late (graphs that need the client's memory) has numbers from
// before.
void insert(std::vector<Placement>& entries, Placement entry) {
  const auto later = std::upper_bound(
      entries.begin(), entries.end(), entry.order,
      [](std::uint64_t order, const Placement& other) { return order < other.order; });
  entries.insert(later, std::move(entry));
}

}  // namespace

bool is_code(HandleType type) noexcept {
  return type == HandleType::module || type == HandleType::library;
}

bool is_function(HandleType type) noexcept {
  return type == HandleType::function || type == HandleType::kernel;
}

// A function may have come from a kernel, and that from a library.
Object* PlacementHistory::owner_of(const Object& object) {
  for (const std::uint64_t parent : object.parents) {
    if (!is_handle(parent)) continue;
    const auto type = static_cast<HandleType>(handle_type(parent));
    if (!is_code(type) && type != HandleType::kernel) continue;
    Object* found = objects_.find(type, parent);
    if (found != nullptr) return is_code(type) ? found : owner_of(*found);
  }
  return nullptr;
}

void PlacementHistory::used(Object& object) {
  object.used = true;
  const Object* owner = owner_of(object);
  if (owner == nullptr) return;
  Placement entry;
  entry.order = objects_.next_creation();
  entry.type = object.type;
  entry.wire = object.wire;
  entry.owner = owner->creation;
  insert(entries_, std::move(entry));
}

void PlacementHistory::looked_up(Object& object, const std::string& name) {
  if (!object.variables.insert(name).second) return;
  object.touched = true;
  Placement entry;
  entry.order = objects_.next_creation();
  entry.kind = PlacementKind::variable;
  entry.type = object.type;
  entry.wire = object.wire;
  entry.owner = object.creation;
  entry.name = name;
  insert(entries_, std::move(entry));
}

void PlacementHistory::changed(SavedCommand command, std::uint64_t kind) {
  std::size_t at = 0;
  for (Placement& entry : entries_) {
    if (entry.kind != PlacementKind::change) continue;
    if (kinds_[at++] != kind) continue;
    entry.command = std::move(command);
    return;
  }
  Placement entry;
  entry.order = objects_.next_creation();
  entry.kind = PlacementKind::change;
  entry.command = std::move(command);
  insert(entries_, std::move(entry));
  kinds_.push_back(kind);
}

void PlacementHistory::forget(std::uint64_t owner) {
  std::erase_if(entries_, [owner](const Placement& entry) { return entry.owner == owner; });
  std::erase_if(gone_, [owner](const std::unique_ptr<Object>& object) {
    return object->creation == owner || object->owner == owner;
  });
}

// What went, its own things with it, and when.
void PlacementHistory::remember(std::vector<std::unique_ptr<Object>> gone) {
  const Object& owner = *gone.front();
  Placement entry;
  entry.order = objects_.next_creation();
  entry.kind = PlacementKind::unload;
  entry.type = owner.type;
  entry.wire = owner.wire;
  entry.owner = owner.creation;
  for (auto& object : gone) {
    if (object.get() != &owner) object->owner = owner.creation;
    gone_.push_back(std::move(object));
  }
  insert(entries_, std::move(entry));
}

void PlacementHistory::unloaded(std::vector<std::unique_ptr<Object>> gone) {
  // Also where nothing was placed in between: a driver need not use the same place again.
  remember(std::move(gone));
  if (++owners_gone_ <= kMaxPlaceholders) return;
  --owners_gone_;
  const auto oldest = std::find_if(gone_.begin(), gone_.end(),
                                   [](const auto& object) { return is_code(object->type); });
  forget((*oldest)->creation);
}

bool PlacementHistory::is_needed(std::uint64_t graph) {
  const auto needs = [graph](const Object& object) {
    return std::find(object.made_from.begin(), object.made_from.end(), graph) !=
           object.made_from.end();
  };
  const std::vector<Object*> live = objects_.in_order();
  return std::any_of(live.begin(), live.end(), [&](const Object* one) { return needs(*one); }) ||
         std::any_of(gone_.begin(), gone_.end(), [&](const auto& one) { return needs(*one); });
}

void PlacementHistory::graph_destroyed(std::vector<std::unique_ptr<Object>> gone) {
  if (is_needed(gone.front()->creation)) remember(std::move(gone));
  else forget_graphs();
}

void PlacementHistory::forget_graphs() {
  // The latest first: an earlier one may be needed by a later one only.
  for (bool again = true; again;) {
    again = false;
    for (auto it = gone_.rbegin(); it != gone_.rend() && !again; ++it) {
      if ((*it)->type != HandleType::graph || is_needed((*it)->creation)) continue;
      forget((*it)->creation);
      again = true;
    }
  }
}

namespace {

template <class Request, class Field>
std::uint64_t selector(const SavedCommand& change, Field Request::*field) noexcept {
  Request request{};
  if (change.payload.size() < sizeof(request)) return 0;
  std::memcpy(&request, change.payload.data(), sizeof(request));
  return static_cast<std::uint32_t>(request.*field);
}

}  // namespace

std::uint64_t kind_of_change(const SavedCommand& change) noexcept {
  std::uint64_t what = 0;
  switch (static_cast<CallId>(change.op)) {
    case CallId::cuFuncSetAttribute:
      what = selector(change, &codec::Req_cuFuncSetAttribute::attrib);
      break;
    case CallId::cuKernelSetAttribute:
      what = selector(change, &codec::Req_cuKernelSetAttribute::attrib);
      break;
    case CallId::cuStreamSetAttribute:
      what = selector(change, &codec::Req_cuStreamSetAttribute::attr);
      break;
    case CallId::cuMemPoolSetAttribute:
      what = selector(change, &codec::Req_cuMemPoolSetAttribute::attr);
      break;
    case CallId::phos_graph_node_set:
      what = selector(change, &codec::Req_phos_graph_node_set::node);
      break;
    case CallId::cuCtxSetLimit:
      what = selector(change, &codec::Req_cuCtxSetLimit::limit);
      break;
    default:
      break;
  }
  return std::uint64_t{change.op} << 32 | what;
}

}  // namespace phos::executor
