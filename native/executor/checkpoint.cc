// SPDX-License-Identifier: Apache-2.0
#include "executor/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>

#include "code-images/description.h"
#include "executor/arrays.h"
#include "executor/captures.h"
#include "executor/device_port.h"
#include "executor/failure.h"
#include "executor/textures.h"
#include "executor/fault.h"
#include "gen/codec.h"

namespace phos::executor {

namespace {

bool is_saveable_type(HandleType type) noexcept {
  switch (type) {
    case HandleType::context:
    case HandleType::module:
    case HandleType::library:
    case HandleType::kernel:
    case HandleType::function:
    case HandleType::stream:
    case HandleType::event:
    case HandleType::memory_pool:  // its memory lies in the window
    case HandleType::array:
    case HandleType::graph:
    case HandleType::graph_node:
    case HandleType::graph_exec:
    case HandleType::texture:
    case HandleType::surface:
    case HandleType::allocation:  // its memory lies in the window
    case HandleType::reservation:
    case HandleType::mapping:
      return true;
    default:
      return false;
  }
}

std::optional<code_images::ModuleDescription> describe(Session& session, const Object& object,
                                                       bool accepts_cubins) {
  const Blob blob = session.blobs().find(object.image);
  if (blob == nullptr) return std::nullopt;
  int major = 0;
  int minor = 0;
  session.driver().cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                                        session.device());
  session.driver().cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                        session.device());
  code_images::Target target;
  target.sm = static_cast<std::uint32_t>(major * 10 + minor);
  target.accepts_cubins = accepts_cubins;
  target.accepts_newer_ptx = !accepts_cubins;
  auto described = code_images::describe_flat({blob->data(), blob->size()}, target);
  if (!described.ok()) return std::nullopt;
  return std::move(described.value());
}

void add_variables(Session& session, const Object& object, bool accepts_cubins,
                   std::vector<Region>& variables) {
  // Nothing has run of a library that nobody asked for anything: its variables are as they were
  // loaded, and a driver that loads lazily has not placed them yet.
  if (object.type == HandleType::library && !object.touched) return;
  const auto described = describe(session, object, accepts_cubins);
  if (!described) return;
  for (const auto& variable : described->variables) {
    CUdeviceptr address = 0;
    std::size_t bytes = 0;
    // A variable that nothing refers to may be left out by the compiler of the driver.
    if (session.find_variable(object.type, object.wire, variable.name, &address, &bytes) !=
        CUDA_SUCCESS) {
      continue;
    }
    if (bytes != 0) variables.push_back({address, bytes, object.wire, variable.name});
  }
}

SavedObject save_object(const Object& object, bool live) {
  return {object.type,  object.wire,  object.creation, live,          object.value,
          object.state, object.image, object.parents,  object.create, object.mutations,
          object.recipe};
}

}  // namespace

std::string name_of_object(HandleType type, std::uint64_t wire) {
  char text[32];
  std::snprintf(text, sizeof(text), " 0x%llx", static_cast<unsigned long long>(wire));
  return handle_type_name(type) + std::string(text);
}

std::string unsaveable_reason(Session& session, const Object& object, bool accepts_cubins) {
  if (!is_saveable_type(object.type)) {
    return std::string("phos cannot save a ") + handle_type_name(object.type) + " yet";
  }
  if (object.type == HandleType::array) return why_array_is_lost(session, object);
  if (object.type == HandleType::texture || object.type == HandleType::surface) {
    return why_texture_is_lost(session, object);
  }
  if (object.type == HandleType::graph_node || object.type == HandleType::graph_exec) {
    return why_node_is_lost(session, object);
  }
  if (object.type == HandleType::graph) return why_not_captured_again(session, object);
  if (!is_code(object.type)) return {};
  const auto described = describe(session, object, accepts_cubins);
  if (!described) return "its code image cannot be read";
  for (const auto& variable : described->variables) {
    if (variable.managed) return "it has the __managed__ variable " + variable.name;
  }
  return {};
}

namespace {

void refuse_unless_saveable(const Object& object, const std::string& reason) {
  if (reason.empty()) return;
  throw Failure(Code::unsupported,
                "The program holds what cannot be saved: " +
                    name_of_object(object.type, object.wire) + " made by " +
                    call_name(static_cast<CallId>(object.create.op)) + ": " + reason +
                    ". `phos explain` lists all of it.",
                {{"type", handle_type_name(object.type)}, {"reason", reason}});
}

}  // namespace

Snapshot take_snapshot(Session& session, SnapshotFacts facts, bool accepts_cubins) {
  Snapshot snapshot;
  snapshot.facts = std::move(facts);
  snapshot.facts.window_base = session.memory().base();
  if (!session.captures().empty()) {
    throw Failure(Code::unsupported,
                  "A stream capture is under way; it cannot be saved. Try again when it has ended.",
                  {}, true);
  }
  for (const Object* object : session.objects().in_order()) {
    refuse_unless_saveable(*object, unsaveable_reason(session, *object, accepts_cubins));
    snapshot.objects.push_back(save_object(*object, true));
    if (object->type == HandleType::array) {
      const Blob elements = read_array(session, *object);
      const Digest digest = digest_of(elements->data(), elements->size());
      snapshot.objects.back().image = digest;
      snapshot.blobs[digest] = elements;
    }
    if (is_code(object->type)) {
      // Looking variables up may make the driver place them: that is part of the history.
      add_variables(session, *object, accepts_cubins, snapshot.variables);
      snapshot.blobs[object->image] = session.blobs().find(object->image);
    }
  }
  for (const auto& gone : session.placements().gone()) {
    snapshot.objects.push_back(save_object(*gone, false));
    if (gone->type == HandleType::graph) {
      refuse_unless_saveable(*gone, why_not_captured_again(session, *gone));
    }
    if (gone->type == HandleType::graph_node) {
      refuse_unless_saveable(*gone, why_node_is_lost(session, *gone));
    }
    if (is_code(gone->type)) snapshot.blobs[gone->image] = session.blobs().find(gone->image);
  }
  session.event_times().save(session, snapshot.objects);
  snapshot.placements = session.placements().entries();
  std::sort(snapshot.objects.begin(), snapshot.objects.end(),
            [](const SavedObject& a, const SavedObject& b) { return a.creation < b.creation; });
  std::sort(snapshot.variables.begin(), snapshot.variables.end(),
            [](const Region& a, const Region& b) { return a.address < b.address; });
  snapshot.allocations = session.memory().allocations();
  snapshot.ranges = session.memory().live_ranges();
  return snapshot;
}

std::unique_ptr<SuspendedMemory> SuspendedMemory::move_out(Session& session,
                                                           const std::vector<MemoryRange>& ranges,
                                                           const Progress& progress) {
  auto moved = std::make_unique<SuspendedMemory>();
  for (const MemoryRange& range : ranges) moved->device_bytes_ += range.bytes;
  DevicePort port(session.driver(), session.context(), 1);
  std::uint64_t done = 0;
  for (const MemoryRange& range : ranges) {
    for (std::uint64_t at = 0; at < range.bytes; at += kChunkBytes) {
      Chunk chunk{range.address + at,
                  static_cast<std::size_t>(std::min(kChunkBytes, range.bytes - at)), nullptr};
      if (fault_point("suspend.copy") != 0) {
        throw Failure(Code::device, "Copying device memory failed (injected fault).");
      }
      std::uint8_t* buffer = port.buffer(0, kChunkBytes);
      port.read(0, chunk.address, buffer, chunk.bytes);
      if (!all_zero(buffer, chunk.bytes)) {
        chunk.data = make_page_buffer(chunk.bytes);
        std::memcpy(chunk.data.get(), buffer, chunk.bytes);
        moved->host_bytes_ += chunk.bytes;
      }
      done += chunk.bytes;
      moved->chunks_.push_back(std::move(chunk));
      if (progress) progress(done, moved->device_bytes_);
    }
  }
  return moved;
}

void SuspendedMemory::move_in(Session& session, const Progress& progress) const {
  DevicePort port(session.driver(), session.context(), 1);
  std::uint64_t done = 0;
  for (const Chunk& chunk : chunks_) {
    if (fault_point("resume.copy") != 0) {
      throw Failure(Code::device, "Copying to device memory failed (injected fault).");
    }
    std::uint8_t* buffer = port.buffer(0, kChunkBytes);
    if (chunk.data != nullptr) {
      std::memcpy(buffer, chunk.data.get(), chunk.bytes);
    } else {
      std::memset(buffer, 0, chunk.bytes);
    }
    port.write(0, chunk.address, buffer, chunk.bytes);
    done += chunk.bytes;
    if (progress) progress(done, device_bytes_);
  }
}

}  // namespace phos::executor
