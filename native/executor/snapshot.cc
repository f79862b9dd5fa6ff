// SPDX-License-Identifier: Apache-2.0
#include "executor/snapshot.h"
#include "executor/window.h"

#include "gen/call_ids.h"

namespace phos::executor {

namespace {

void put_command(ByteWriter& out, const SavedCommand& command) {
  out.put(command.op);
  out.put(command.context);
  out.put(command.order);
  out.bytes(command.payload);
}

SavedCommand get_command(ByteReader& in) {
  SavedCommand command;
  command.op = in.get<std::uint16_t>();
  command.context = in.get<std::uint64_t>();
  command.order = in.get<std::uint64_t>();
  const auto payload = in.bytes();
  if (!is_call(command.op)) in.invalid("a command of an unknown call");
  if (payload.size() > kMaxRecordBytes) in.invalid("a command larger than a ring holds");
  command.payload.assign(payload.begin(), payload.end());
  return command;
}

constexpr std::size_t kLeastCommandBytes = 26;

void put_object(ByteWriter& out, const SavedObject& object) {
  out.put(static_cast<std::uint8_t>(object.type));
  out.put(static_cast<std::uint8_t>(object.live ? 1 : 0));
  out.put(object.wire);
  out.put(object.creation);
  out.put(object.value);
  out.put(object.state);
  out.put(object.image);
  out.put(static_cast<std::uint64_t>(object.parents.size()));
  for (const std::uint64_t parent : object.parents) out.put(parent);
  put_command(out, object.create);
  out.put(static_cast<std::uint64_t>(object.mutations.size()));
  for (const SavedCommand& change : object.mutations) put_command(out, change);
  out.put(static_cast<std::uint64_t>(object.recipe.size()));
  for (const SavedCommand& captured : object.recipe) put_command(out, captured);
}

SavedObject get_object(ByteReader& in) {
  SavedObject object;
  const auto type = in.get<std::uint8_t>();
  const auto live = in.get<std::uint8_t>();
  if (type == 0 || type > kMaxHandleType || live > 1) in.invalid("an object of an unknown type");
  object.type = static_cast<HandleType>(type);
  object.live = live != 0;
  object.wire = in.get<std::uint64_t>();
  object.creation = in.get<std::uint64_t>();
  object.value = in.get<std::uint64_t>();
  object.state = in.get<std::uint64_t>();
  object.image = in.get<Digest>();
  if (!is_handle(object.wire) || handle_type(object.wire) != type) {
    in.invalid("an object with a malformed handle");
  }
  const std::uint64_t parents = in.count(sizeof(std::uint64_t));
  for (std::uint64_t i = 0; i < parents; ++i) object.parents.push_back(in.get<std::uint64_t>());
  object.create = get_command(in);
  const std::uint64_t changes = in.count(kLeastCommandBytes);
  for (std::uint64_t i = 0; i < changes; ++i) object.mutations.push_back(get_command(in));
  const std::uint64_t captured = in.count(kLeastCommandBytes);
  for (std::uint64_t i = 0; i < captured; ++i) object.recipe.push_back(get_command(in));
  return object;
}

void put_placement(ByteWriter& out, const Placement& placement) {
  out.put(placement.order);
  out.put(static_cast<std::uint8_t>(placement.kind));
  if (placement.kind == PlacementKind::change) return put_command(out, placement.command);
  out.put(static_cast<std::uint8_t>(placement.type));
  out.put(placement.wire);
  out.put(placement.owner);
  out.text(placement.name);
}

Placement get_placement(ByteReader& in) {
  Placement placement;
  placement.order = in.get<std::uint64_t>();
  const auto kind = in.get<std::uint8_t>();
  if (kind == 0 || kind > kMaxPlacementKind) in.invalid("a placement of an unknown kind");
  placement.kind = static_cast<PlacementKind>(kind);
  if (placement.kind == PlacementKind::change) {
    placement.command = get_command(in);
    return placement;
  }
  const auto type = in.get<std::uint8_t>();
  placement.type = static_cast<HandleType>(type);
  placement.wire = in.get<std::uint64_t>();
  placement.owner = in.get<std::uint64_t>();
  placement.name = in.text();
  const bool is_graph =
      placement.kind == PlacementKind::unload && placement.type == HandleType::graph;
  const bool fits = placement.kind == PlacementKind::use ? is_function(placement.type)
                                                         : is_code(placement.type) || is_graph;
  if (!fits || !is_handle(placement.wire) || handle_type(placement.wire) != type) {
    in.invalid("a placement of an object that is never placed");
  }
  return placement;
}

}  // namespace

std::vector<std::uint8_t> encode_objects(const Snapshot& snapshot) {
  ByteWriter out;
  const SnapshotFacts& facts = snapshot.facts;
  for (const std::uint8_t byte : facts.client_id) out.put(byte);
  out.put(facts.cut);
  out.put(facts.window_base);
  out.text(facts.driver);
  out.text(facts.device_name);
  out.put(facts.driver_version);
  out.put(facts.compute_major);
  out.put(facts.compute_minor);
  out.put(facts.device_total_bytes);
  out.put(static_cast<std::uint64_t>(snapshot.allocations.size()));
  for (const Allocation& allocation : snapshot.allocations) {
    out.put(allocation.address);
    out.put(allocation.bytes);
  }
  out.put(static_cast<std::uint64_t>(snapshot.objects.size()));
  for (const SavedObject& object : snapshot.objects) put_object(out, object);
  out.put(static_cast<std::uint64_t>(snapshot.placements.size()));
  for (const Placement& placement : snapshot.placements) put_placement(out, placement);
  out.put(static_cast<std::uint64_t>(snapshot.variables.size()));
  for (const Region& variable : snapshot.variables) {
    out.put(variable.address);
    out.put(variable.bytes);
    out.put(variable.module);
    out.text(variable.name);
  }
  return out.take();
}

Snapshot decode_objects(ByteReader& in) {
  Snapshot snapshot;
  SnapshotFacts& facts = snapshot.facts;
  for (std::uint8_t& byte : facts.client_id) byte = in.get<std::uint8_t>();
  facts.cut = in.get<std::uint64_t>();
  facts.window_base = in.get<std::uint64_t>();
  facts.driver = in.text();
  facts.device_name = in.text();
  facts.driver_version = in.get<int>();
  facts.compute_major = in.get<int>();
  facts.compute_minor = in.get<int>();
  facts.device_total_bytes = in.get<std::uint64_t>();
  const std::uint64_t allocations = in.count(2 * sizeof(std::uint64_t));
  for (std::uint64_t i = 0; i < allocations; ++i) {
    Allocation allocation;
    allocation.address = in.get<std::uint64_t>();
    allocation.bytes = in.get<std::uint64_t>();
    const std::uint64_t offset = allocation.address - facts.window_base;
    if (allocation.bytes == 0 || offset >= device_window_bytes() ||
        allocation.bytes > device_window_bytes() - offset) {
      in.invalid("an allocation outside the device window");
    }
    snapshot.allocations.push_back(allocation);
  }
  const std::uint64_t objects = in.count(82);
  std::uint64_t last = 0;
  for (std::uint64_t i = 0; i < objects; ++i) {
    SavedObject object = get_object(in);
    if (object.creation <= last) in.invalid("objects out of order");
    last = object.creation;
    snapshot.objects.push_back(std::move(object));
  }
  const std::uint64_t placements = in.count(34);
  last = 0;
  for (std::uint64_t i = 0; i < placements; ++i) {
    Placement placement = get_placement(in);
    if (placement.order <= last) in.invalid("placements out of order");
    last = placement.order;
    snapshot.placements.push_back(std::move(placement));
  }
  const std::uint64_t variables = in.count(32);
  for (std::uint64_t i = 0; i < variables; ++i) {
    Region variable;
    variable.address = in.get<std::uint64_t>();
    variable.bytes = in.get<std::uint64_t>();
    variable.module = in.get<std::uint64_t>();
    variable.name = in.text();
    snapshot.variables.push_back(std::move(variable));
  }
  in.expect_end();
  return snapshot;
}

}  // namespace phos::executor
