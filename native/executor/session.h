// SPDX-License-Identifier: Apache-2.0
// What the handlers of commands work with: the driver, the client's objects and memory, waits.
//
// Handlers run on the drain thread, or on a helper thread for calls that may block. On the drain
// thread the session's lock is held; elsewhere every function here takes it for itself, and never
// while a driver call is under way.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "executor/command.h"
#include "executor/device_memory.h"
#include "executor/event_times.h"
#include "executor/object_table.h"
#include "executor/placement.h"
#include "executor/streams.h"
#include "executor/write_set.h"
#include "gen/driver_table.h"
#include "gen/handle_types.h"
#include "ring/memory.h"

namespace phos::executor {

class HostArenas;
struct OrderPlace;
class Helpers;
class Waits;
class BlobStore;
class Callbacks;
class PinnedPool;
class SaveJob;
class SpareMemory;

// The session's lock for control calls and helpers: the drain gives way between two batches.
class SessionLock {
 public:
  explicit SessionLock(Session& session);
  ~SessionLock();
  SessionLock(const SessionLock&) = delete;
  SessionLock& operator=(const SessionLock&) = delete;

 private:
  Session* session_;  // null where the calling thread holds the lock already
};

// The drain's own lock: lets everyone who waits in a SessionLock go first.
class DrainLock {
 public:
  explicit DrainLock(Session& session);
  ~DrainLock();
  DrainLock(const DrainLock&) = delete;
  DrainLock& operator=(const DrainLock&) = delete;

 private:
  Session& session_;
};

// Errors after which a context answers nothing else.
bool is_sticky(CUresult status) noexcept;

// What a command answered while it ran for restore.
struct CapturedReply {
  CUresult status = CUDA_SUCCESS;
  std::vector<std::uint8_t> data;
};

// A capture under way, with what a restore needs to capture the same again.
struct Capture {
  std::uint64_t graph = 0;  // the handle that it will have
  std::vector<SavedCommand> commands;
  std::set<std::uint64_t> streams;  // that have joined it
  std::set<std::uint64_t> events;   // recorded in it
};

struct SessionEvents {
  std::function<void(CUresult status, const char* call)> context_error;
  std::function<void(CallId call)> unsupported;
  std::function<void(CallId call, const char* what)> protocol_error;
};

class Session {
 public:
  Session(const DriverTable& driver, CUdevice device, CUcontext context, std::uint64_t window_base,
          std::uint64_t memory_limit, SessionEvents events);
  ~Session();

  // --- what generated handlers use ---------------------------------------------------------
  const DriverTable& driver() const noexcept { return driver_; }

  // What a handle of the program stands for. Streams 0 to 2 (default, legacy, per thread) and the
  // zero handle of a `nullable` parameter stand for themselves.
  CUresult resolve(HandleType type, std::uint64_t wire, bool nullable, void** real) noexcept {
    if (is_held_here()) return resolve_here(type, wire, nullable, real);
    const SessionLock lock(*this);
    return resolve_here(type, wire, nullable, real);
  }
  // A function or kernel that the driver is about to need. Its code is loaded here at the first
  // use, in the way in which a restore loads it, and not by the launch.
  CUresult resolve_use(HandleType type, std::uint64_t wire, void** real) noexcept {
    const SessionLock lock(*this);
    Object* object = objects_.find(type, wire);
    if (object == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    *real = object->real;
    if (!object->used) first_use(*object);
    return CUDA_SUCCESS;
  }
  // Records that `command` has made `real`, which the program calls `wire`.
  void create(HandleType type, std::uint64_t wire, void* real, const Command& command,
              std::span<const std::uint64_t> parents);
  // Records that `command` has changed the object, so that restore changes it again.
  void mutate(HandleType type, std::uint64_t wire, const Command& command);
  // An executable graph has taken over what a graph says now: its earlier changes are void.
  void update_from(std::uint64_t exec, std::uint64_t graph, const Command& command);
  // Forgets the object and everything that cannot outlive it.
  CUresult destroy(HandleType type, std::uint64_t wire);
  // The client broke the protocol: it is cut off, and nobody else is affected.
  void protocol_error(CallId call, const char* what) noexcept;

  // --- what custom handlers use as well ----------------------------------------------------
  CUdevice device() const noexcept { return device_; }
  CUcontext context() const noexcept { return context_; }
  ObjectTable& objects() noexcept { return objects_; }
  DeviceMemory& memory() noexcept { return memory_; }
  Streams& streams() noexcept { return streams_; }
  GraphWrites& graph_writes() noexcept { return graph_writes_; }
  // The save under way, null while there is none. With the lock; commands are shown to it before
  // they go to the driver.
  SaveJob* save_job() noexcept { return save_job_; }
  void set_save_job(SaveJob* job) noexcept { save_job_ = job; }
  EventTimes& event_times() noexcept { return event_times_; }
  // Memory set aside for a save that has not begun. With the lock.
  const std::shared_ptr<SpareMemory>& spare() const noexcept { return spare_; }
  void set_spare(std::shared_ptr<SpareMemory> spare) noexcept { spare_ = std::move(spare); }
  // Gives it back to the device; false when there is none. The context must be current.
  bool drop_spare();
  HostArenas& arenas() noexcept { return *arenas_; }
  Helpers& helpers() noexcept { return *helpers_; }
  Waits& waits() noexcept { return *waits_; }
  BlobStore& blobs() noexcept { return *blobs_; }
  Callbacks& callbacks() noexcept { return *callbacks_; }
  PinnedPool& pinned() noexcept { return *pinned_; }
  // Captures under way, by the stream that they began on.
  std::map<std::uint64_t, Capture>& captures() noexcept { return captures_; }
  // A command is about to run: adds it to the capture that it is part of.
  void note_captured(const Command& command, const OrderPlace& place);
  Object* find(HandleType type, std::uint64_t wire) noexcept { return objects_.find(type, wire); }

  // --- what the drain uses -----------------------------------------------------------------
  // Makes the executor's context current in the calling thread. The client keeps the program's
  // contexts apart; all of them stand for this one.
  CUresult enter_context() noexcept;
  void finish(const Reply& reply, CUresult status, const void* data, std::size_t bytes) noexcept;
  // Where replies go. The ring stays mapped for as long as the session lives.
  void attach_ring(RingHeader* header, const ring::Geometry& geometry) noexcept;
  // Every later call of the client answers `status`.
  void poison_ring(CUresult status) noexcept;
  // Replies of commands that run in this thread go to `captured` instead (restore); null ends it.
  void capture_replies(CapturedReply* captured) noexcept { capture_reply_ = captured; }
  static SavedCommand saved(const Command& command);
  // What made the driver place things, for restore.
  PlacementHistory& placements() noexcept { return placements_; }
  // Where a variable of a module or library lies. It is remembered as looked up.
  CUresult find_variable(HandleType type, std::uint64_t wire, const std::string& name,
                         CUdeviceptr* address, std::size_t* bytes);
  // Held by helpers around what places things, so that their order is known.
  std::mutex& placing() noexcept { return placing_; }
  void note_context_error(CUresult status, CallId call);
  // True when nothing of this session can be inside the driver any more.
  bool is_quiet();
  // Names a stream that has not finished and the last kernel on it; empty when all have.
  std::string busy_with();
  // Name of a function or kernel by its handle, empty when the driver has none. With the lock.
  std::string name_of_kernel(std::uint64_t wire);
  // Somebody waits for the session's lock: the drain gives way soon.
  bool is_wanted() const noexcept {
    return control_waiters_.load(std::memory_order_relaxed) != 0;
  }
  bool broken() const noexcept { return broken_.load(std::memory_order_acquire); }
  std::uint64_t sync_commands() const noexcept { return sync_commands_.load(); }

  CUresult context_error() const noexcept {
    return context_error_.load(std::memory_order_acquire);
  }
  std::uint64_t deferred_errors() const noexcept { return deferred_errors_.load(); }
  std::string last_deferred_error();
  std::vector<std::string> unsupported_calls();
  void note_unsupported(CallId call);

  // True on the thread that holds the lock. Asked several times for each command: a thread-local
  // variable of the addon would be a call each time, and the thread pointer is a register.
  bool is_held_here() const noexcept {
    return holder_.load(std::memory_order_relaxed) == __builtin_thread_pointer();
  }

 private:
  friend class SessionLock;
  friend class DrainLock;
  void destroy_objects();
  void first_use(Object& object) noexcept;
  void destroy_children(HandleType type, std::uint64_t wire,
                        std::vector<std::unique_ptr<Object>>& gone);
  CUresult resolve_here(HandleType type, std::uint64_t wire, bool nullable, void** real) noexcept {
    if (type == HandleType::stream && wire <= 2) {
      // SAFETY: CUDA defines these three small numbers as stream handles.
      *real = reinterpret_cast<void*>(wire);
      return CUDA_SUCCESS;
    }
    if (wire == 0 && nullable) {
      *real = nullptr;
      return CUDA_SUCCESS;
    }
    const Object* object = objects_.find(type, wire);
    if (object == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    *real = object->real;
    return CUDA_SUCCESS;
  }

  const DriverTable driver_;
  const CUdevice device_;
  const CUcontext context_;
  SessionEvents events_;
  ObjectTable objects_;
  DeviceMemory memory_;
  Streams streams_;
  EventTimes event_times_;
  std::unique_ptr<HostArenas> arenas_;
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<Callbacks> callbacks_;
  std::unique_ptr<PinnedPool> pinned_;
  std::map<std::uint64_t, Capture> captures_;
  std::unique_ptr<Helpers> helpers_;
  std::unique_ptr<Waits> waits_;
  PlacementHistory placements_{objects_};
  std::mutex placing_;
  std::atomic<RingHeader*> ring_{nullptr};
  ring::Geometry geometry_{};
  CapturedReply* capture_reply_ = nullptr;
  GraphWrites graph_writes_;
  SaveJob* save_job_ = nullptr;
  std::shared_ptr<SpareMemory> spare_;
  std::atomic<bool> broken_{false};
  std::atomic<std::uint64_t> sync_commands_{0};
  std::atomic<CUresult> context_error_{CUDA_SUCCESS};
  std::atomic<std::uint64_t> deferred_errors_{0};
  std::mutex names_mutex_;
  std::string last_deferred_error_;
  std::vector<CallId> unsupported_;

  std::mutex mutex_;
  std::atomic<const void*> holder_{nullptr};  // thread pointer of who holds mutex_
  std::atomic<std::uint32_t> control_waiters_{0};
};

}  // namespace phos::executor
