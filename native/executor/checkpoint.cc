// SPDX-License-Identifier: Apache-2.0
#include "executor/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>

#include "code-images/description.h"
#include "executor/device_port.h"
#include "executor/failure.h"
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
      return true;
    default:
      return false;
  }
}

std::string name_of_object(HandleType type, std::uint64_t wire) {
  char text[32];
  std::snprintf(text, sizeof(text), " 0x%llx", static_cast<unsigned long long>(wire));
  return handle_type_name(type) + std::string(text);
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

bool is_code(HandleType type) noexcept {
  return type == HandleType::module || type == HandleType::library;
}

CUresult find_variable(Session& session, HandleType type, void* real, const std::string& name,
                       CUdeviceptr* address, std::size_t* bytes) {
  if (type == HandleType::module) {
    return session.driver().cuModuleGetGlobal(address, bytes, static_cast<CUmodule>(real),
                                              name.c_str());
  }
  return session.driver().cuLibraryGetGlobal(address, bytes, static_cast<CUlibrary>(real),
                                             name.c_str());
}

void add_variables(Session& session, const Object& object, bool accepts_cubins,
                   std::vector<Region>& variables) {
  const auto described = describe(session, object, accepts_cubins);
  if (!described) return;
  for (const auto& variable : described->variables) {
    CUdeviceptr address = 0;
    std::size_t bytes = 0;
    // A variable that nothing refers to may be left out by the compiler of the driver.
    if (find_variable(session, object.type, object.real, variable.name, &address, &bytes) !=
        CUDA_SUCCESS) {
      continue;
    }
    if (bytes != 0) variables.push_back({address, bytes, object.wire, variable.name});
  }
}

SavedObject save_object(const Object& object, bool live) {
  return {object.type,  object.wire,  object.creation, live,          object.value,
          object.state, object.image, object.parents,  object.create, object.mutations};
}

}  // namespace

std::string unsaveable_reason(Session& session, const Object& object, bool accepts_cubins) {
  if (!is_saveable_type(object.type)) {
    return std::string("phos cannot save a ") + handle_type_name(object.type) + " yet";
  }
  if (!is_code(object.type)) return {};
  const auto described = describe(session, object, accepts_cubins);
  if (!described) return "its code image cannot be read";
  for (const auto& variable : described->variables) {
    if (variable.managed) return "it has the __managed__ variable " + variable.name;
  }
  return {};
}

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
    const std::string reason = unsaveable_reason(session, *object, accepts_cubins);
    if (!reason.empty()) {
      throw Failure(Code::unsupported,
                    "The program holds what cannot be saved: " +
                        name_of_object(object->type, object->wire) + " made by " +
                        call_name(static_cast<CallId>(object->create.op)) + ": " + reason +
                        ". `phos explain` lists all of it.",
                    {{"type", handle_type_name(object->type)}, {"reason", reason}});
    }
    snapshot.objects.push_back(save_object(*object, true));
    if (is_code(object->type)) {
      add_variables(session, *object, accepts_cubins, snapshot.variables);
      snapshot.blobs[object->image] = session.blobs().find(object->image);
    }
  }
  for (const auto& gone : session.history()) {
    snapshot.objects.push_back(save_object(*gone, false));
    snapshot.blobs[gone->image] = session.blobs().find(gone->image);
  }
  std::sort(snapshot.objects.begin(), snapshot.objects.end(),
            [](const SavedObject& a, const SavedObject& b) { return a.creation < b.creation; });
  std::sort(snapshot.variables.begin(), snapshot.variables.end(),
            [](const Region& a, const Region& b) { return a.address < b.address; });
  snapshot.allocations = session.memory().allocations();
  snapshot.ranges = session.memory().live_ranges();
  return snapshot;
}

namespace {

// The number under which a load command expects its image.
std::uint64_t image_number(const SavedCommand& command) {
  const auto call = static_cast<CallId>(command.op);
  std::size_t at = 0;
  if (call == CallId::phos_module_load) {
    at = offsetof(codec::Req_phos_module_load, image);
  } else if (call == CallId::phos_library_load) {
    at = offsetof(codec::Req_phos_library_load, image);
  } else {
    return 0;
  }
  std::uint64_t number = 0;
  if (command.payload.size() >= at + sizeof(number)) {
    std::memcpy(&number, command.payload.data() + at, sizeof(number));
  }
  return number;
}

[[noreturn]] void refuse_object(const SavedObject& object, CUresult status, const char* step) {
  throw Failure(Code::device,
                std::string("Restoring ") + name_of_object(object.type, object.wire) + ": " +
                    call_name(static_cast<CallId>(object.create.op)) + " " + step +
                    " answered CUDA error " + std::to_string(status) +
                    ". Restore on a device and driver like those of the image.",
                {{"type", handle_type_name(object.type)}, {"status", std::to_string(status)}});
}

void rebuild_object(Session& session, Drain& drain, const Snapshot& snapshot,
                    const SavedObject& saved) {
  if (fault_point("load.object") != 0) refuse_object(saved, CUDA_ERROR_UNKNOWN, "(injected)");
  if (saved.image != Digest{}) {
    session.blobs().put(image_number(saved.create), snapshot.blobs.at(saved.image));
  }
  const CapturedReply reply = drain.replay(saved.create);
  if (reply.status != CUDA_SUCCESS) refuse_object(saved, reply.status, "");
  Object* object = session.find(saved.type, saved.wire);
  if (object == nullptr) refuse_object(saved, CUDA_ERROR_INVALID_HANDLE, "(no object)");
  object->creation = saved.creation;
  object->state = saved.state;
  object->value = saved.value;
  for (const SavedCommand& change : saved.mutations) {
    const CapturedReply answer = drain.replay(change);
    if (answer.status != CUDA_SUCCESS) refuse_object(saved, answer.status, "(a change)");
  }
}

void compare_variables(Session& session, const Snapshot& snapshot) {
  for (const Region& variable : snapshot.variables) {
    const HandleType type = static_cast<HandleType>(handle_type(variable.module));
    Object* module = is_handle(variable.module) ? session.find(type, variable.module) : nullptr;
    CUdeviceptr address = 0;
    std::size_t bytes = 0;
    const bool found = module != nullptr && is_code(type) &&
                       find_variable(session, type, module->real, variable.name, &address,
                                     &bytes) == CUDA_SUCCESS;
    if (found && address == variable.address && bytes == variable.bytes) continue;
    throw Failure(Code::unsupported,
                  "The driver placed the variable " + variable.name +
                      " elsewhere than in the image, and device code may hold its address. "
                      "Restore on the same device and driver version.",
                  {{"variable", variable.name},
                   {"saved", std::to_string(variable.address)},
                   {"now", std::to_string(address)}});
  }
}

// A module or library that only had to take its place. It is history again, for the next dump.
void unload_placeholder(Session& session, std::unique_ptr<Object> gone) {
  const DriverTable& driver = session.driver();
  const CUresult result = gone->type == HandleType::module
                              ? driver.cuModuleUnload(static_cast<CUmodule>(gone->real))
                              : driver.cuLibraryUnload(static_cast<CUlibrary>(gone->real));
  if (result != CUDA_SUCCESS) {
    throw Failure(Code::device, "Unloading " + name_of_object(gone->type, gone->wire) +
                                    ", which the program had unloaded, answered CUDA error " +
                                    std::to_string(result) + ".");
  }
  session.history().push_back(std::move(gone));
}

void mark_events(Session& session, const Snapshot& snapshot) {
  for (const SavedObject& saved : snapshot.objects) {
    if (saved.type != HandleType::event || (saved.state & kEventRecorded) == 0) continue;
    const Object* object = session.find(saved.type, saved.wire);
    if (object == nullptr) continue;
    const CUresult result =
        session.driver().cuEventRecord(static_cast<CUevent>(object->real), nullptr);
    if (result != CUDA_SUCCESS) refuse_object(saved, result, "(cuEventRecord)");
  }
}

}  // namespace

void rebuild(Session& session, Drain& drain, const Snapshot& snapshot) {
  const SessionLock lock(session);
  if (session.objects().size() != 0 || session.memory().used_bytes() != 0) {
    throw Failure(Code::conflict, "Only a fresh executor can load an image; use another one.");
  }
  for (const Allocation& allocation : snapshot.allocations) {
    check_driver(session.driver(),
                 session.memory().allocate_at(allocation.address, allocation.bytes),
                 "Taking device memory at the image's addresses");
  }
  // Each leaves the table at once: the program may have given its number to a successor.
  std::vector<std::unique_ptr<Object>> placeholders;
  for (const SavedObject& saved : snapshot.objects) {
    rebuild_object(session, drain, snapshot, saved);
    if (!saved.live) placeholders.push_back(session.objects().remove(saved.type, saved.wire));
  }
  for (std::unique_ptr<Object>& gone : placeholders) unload_placeholder(session, std::move(gone));
  mark_events(session, snapshot);
  compare_variables(session, snapshot);
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
