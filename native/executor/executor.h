// SPDX-License-Identifier: Apache-2.0
// One executor: a device context, the session of at most one client, its ring, and what phosd may
// ask of them. Every function may be called from any thread, run() from one thread at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "executor/drain.h"
#include "executor/failure.h"
#include "executor/image.h"
#include "executor/ring_server.h"
#include "executor/save_job.h"
#include "executor/session.h"

namespace phos::executor {

struct ExecutorOptions {
  DriverTable driver{};
  std::string driver_name;  // "sim" or "cuda"
  int ordinal = 0;
  std::string id;
  std::string ring_socket_path;  // empty: no socket (tests hand the ring over directly)
  std::uint64_t memory_limit = 0;
};

struct DeviceFacts {
  std::string driver;
  int ordinal = 0;
  std::string name;
  std::string uuid;
  int driver_version = 0;
  int compute_major = 0;
  int compute_minor = 0;
  std::uint64_t total_bytes = 0;
};

struct ExecutorEvent {
  enum class Type : std::uint8_t { attached, lost, context_error, unsupported };
  Type type = Type::attached;
  std::uint32_t pid = 0;
  bool reattached = false;
  std::string name;    // lost: reason; unsupported: call
  std::string detail;  // lost: detail; context_error: diagnostic
  std::uint32_t status = 0;
};
using EventSink = std::function<void(const ExecutorEvent&)>;

enum class State : std::uint8_t {
  created, ready, expecting, attached, disconnected, suspended, lost, closed
};
const char* name_of(State state) noexcept;

struct DrainToResult {
  bool reached = false;
  std::uint64_t position = 0;
  std::string waiting_for;  // empty when reached
};

struct ObjectSummary {
  std::string type;
  std::uint64_t handle = 0;
  std::uint64_t bytes = 0;
  std::string created_by;
  std::string unsaveable;  // empty when it can be saved
};

struct ExecutorStatus {
  State state = State::created;
  std::optional<DeviceFacts> device;
  std::string client_id;
  std::uint32_t client_pid = 0;
  std::uint64_t commands = 0;
  std::uint64_t sync_commands = 0;
  std::uint64_t deferred_errors = 0;
  std::string last_deferred_error;
  std::uint64_t head = 0;
  std::uint64_t tail = 0;
  bool gate_closed = false;
  std::uint64_t device_bytes_used = 0;
  std::uint64_t device_bytes_reserved = 0;
  std::uint64_t arena_bytes = 0;
  std::size_t objects = 0;
  std::uint32_t pending_waits = 0;
  std::size_t parked_commands = 0;
  std::uint32_t context_error = 0;
  std::vector<std::string> unsupported_calls;
  std::uint64_t gate_waits = 0;
  std::uint64_t gate_wait_ns = 0;
};

struct SuspendResult {
  std::uint64_t device_bytes = 0;
  std::uint64_t host_bytes = 0;
  double duration_ms = 0;
};

class SuspendedMemory;
struct Later;

class Executor {
 public:
  Executor(ExecutorOptions options, EventSink events);
  ~Executor();

  // Initialises the driver, retains the primary context, reserves the window, listens. DEVICE.
  DeviceFacts start();
  void expect(const ExpectedClient& client);
  DrainResult run(std::uint32_t slice_ms);
  void stop() noexcept;
  // stop() for good: the process is about to leave.
  void finish() noexcept;

  void close_gate();
  void open_gate();
  // Where the last published record ends. With the gate closed this is a cut: nothing at or after
  // it is consumed until the gate opens.
  std::uint64_t read_head();
  DrainToResult drain_to(std::uint64_t cut, std::uint32_t deadline_ms);
  void disconnect_agent(std::uint32_t deadline_ms);

  std::vector<ObjectSummary> explain();
  // Sets device memory aside for a save that is to begin soon, while the program runs. It is given
  // back when the gate opens without a save, by save_abort(), and to a program that needs it.
  // Returns its bytes; 0 where the mode needs none or there is none.
  std::uint64_t save_prepare(SaveMode mode);
  // The save's two phases. Begun with the gate closed and the drain at the cut (for mode stop: with
  // the device at rest); comes back when the gate may open, or says that it may only after the
  // second. One save at a time: CONFLICT. A begin that fails leaves none.
  SaveBegun save_begin(const SaveOptions& options);
  // Streams out what was begun and ends the save, also by a failure.
  SaveReport save_finish(const Progress& progress);
  // Ends a save at whatever point it is; a finish under way fails with CANCELLED. No save: nothing.
  void save_abort();
  // Both phases in one, in mode stop.
  SaveReport save(const std::string& directory, WriteOptions options, const Progress& progress);
  LoadResult load(const std::string& directory, const ReadOptions& options,
                  const Progress& progress);
  SuspendResult suspend(const Progress& progress);
  SuspendResult resume(const Progress& progress);
  ExecutorStatus status();
  void close();

  // True when the executor may be destroyed without waiting for the device.
  bool is_quiet() { return !session_ || session_->is_quiet(); }

  int ring_fd() const noexcept { return server_ ? server_->ring_fd() : -1; }
  std::size_t ring_bytes() const noexcept { return server_ ? server_->ring_bytes() : 0; }
  // For tests without a socket.
  bool attach_ring(void* base, std::size_t bytes);
  Session& session() { return *session_; }
  Drain& drain() { return *drain_; }

 private:
  Session& live_session();
  void check_context(const char* step);
  void check_at_rest(const char* step);
  std::string what_is_in_the_way(std::uint64_t cut, const DrainState& state);
  void lift_gate();
  void check_at_cut();
  void refuse_during_save(const char* step);
  SnapshotFacts snapshot_facts();
  // Gives the save up and waits until nothing reads the client's memory any more.
  void abandon_save();
  void end_save(const std::shared_ptr<SaveJob>& job);
  void on_attached(const Peer& peer, bool reattached);
  void on_lost(LostReason reason, const std::string& detail);
  void free_client();
  SessionEvents session_events();
  RingServerHooks server_hooks();
  void set_state(State state);

  const ExecutorOptions options_;
  const EventSink events_;
  std::optional<DeviceFacts> facts_;
  CUdevice device_ = 0;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Drain> drain_;
  std::unique_ptr<RingServer> server_;
  std::unique_ptr<SuspendedMemory> suspended_;
  std::unique_ptr<ChangeHasher> hasher_;
  std::shared_ptr<SaveJob> save_job_;  // guarded by state_mutex_
  bool save_finishing_ = false;        // guarded by state_mutex_
  std::mutex control_;  // one control step at a time
  std::mutex state_mutex_;
  State state_ = State::created;
  std::string client_id_;
  bool gate_closed_ = false;
  std::optional<std::uint64_t> loaded_cut_;
  std::shared_ptr<const std::vector<Later>> later_;  // of a restore, until the client is back
  std::atomic<bool> closed_{false};
};

}  // namespace phos::executor
