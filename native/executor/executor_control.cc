// SPDX-License-Identifier: Apache-2.0
// The control side of the executor: cuts, save, load, suspend, resume, status.
#include <algorithm>
#include <chrono>
#include <thread>

#include "executor/callbacks.h"
#include "executor/checkpoint.h"
#include "executor/device_port.h"
#include "executor/executor.h"
#include "executor/helpers.h"
#include "executor/host_arenas.h"
#include "executor/spare_memory.h"
#include "executor/waits.h"

namespace phos::executor {

namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace

void Executor::close_gate() {
  live_session();
  const SessionLock lock(*session_);
  gate_closed_ = true;
  if (RingHeader* header = drain_->header()) ring::close_gate(header);
}

void Executor::open_gate() {
  live_session();
  {
    const std::lock_guard lock(state_mutex_);
    if (state_ == State::suspended) {
      throw Failure(Code::conflict, "The client is suspended; resume it before the gate opens.");
    }
  }
  const SessionLock lock(*session_);
  lift_gate();
  session_->enter_context();
  session_->drop_spare();
}

void Executor::lift_gate() {
  gate_closed_ = false;
  drain_->lift_limit();
  if (RingHeader* header = drain_->header()) ring::open_gate(header);
}

std::uint64_t Executor::read_head() {
  live_session();
  const SessionLock lock(*session_);
  const DrainState state = drain_->state();
  if (!state.attached) return loaded_cut_.value_or(0);
  if (loaded_cut_) return *loaded_cut_;
  // The drain stands still while the lock is held: it is at most here.
  if (gate_closed_) drain_->set_limit(state.head);
  return state.head;
}

std::string Executor::what_is_in_the_way(std::uint64_t cut, const DrainState& state) {
  if (!session_->captures().empty()) {
    return "a capture on stream " + std::to_string(session_->captures().begin()->first);
  }
  const std::uint32_t functions = session_->callbacks().running();
  if (functions != 0) {
    return std::to_string(functions) + " host function(s) of the program that have not returned";
  }
  const std::string busy = session_->busy_with();
  if (!busy.empty()) return busy;
  if (session_->helpers().busy() != 0) return "a driver call that has not returned";
  if (state.parked != 0) return std::to_string(state.parked) + " commands of full streams";
  if (state.position < cut) {
    return std::to_string(cut - state.position) + " bytes of commands not taken yet";
  }
  if (state.waits != 0) return std::to_string(state.waits) + " waits of client threads";
  return {};
}

DrainToResult Executor::drain_to(std::uint64_t cut, std::uint32_t deadline_ms) {
  live_session();
  const auto deadline = Clock::now() + std::chrono::milliseconds(deadline_ms);
  auto pause = std::chrono::microseconds(50);
  for (;;) {
    DrainToResult result;
    {
      const SessionLock lock(*session_);
      session_->enter_context();
      check_context("Draining");
      const DrainState state = drain_->state();
      const RingHeader* header = drain_->header();
      result.position = state.position;
      const bool idle = session_->streams().idle();
      result.waiting_for = what_is_in_the_way(cut, state);
      const bool published = header == nullptr || header->tail.load() == state.position;
      result.reached = idle && published && result.waiting_for.empty() && state.position >= cut;
      if (!result.reached && result.waiting_for.empty()) result.waiting_for = "the device";
    }
    if (result.reached || Clock::now() >= deadline) return result;
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(5000));
  }
}

void Executor::disconnect_agent(std::uint32_t deadline_ms) {
  live_session();
  if (server_) server_->disconnect(deadline_ms);
}

std::vector<ObjectSummary> Executor::explain() {
  Session& session = live_session();
  const SessionLock lock(session);
  const bool cubins = options_.driver_name == "cuda";
  std::vector<ObjectSummary> all;
  for (const Object* object : session.objects().in_order()) {
    ObjectSummary summary;
    summary.type = handle_type_name(object->type);
    summary.handle = object->wire;
    summary.created_by = call_name(static_cast<CallId>(object->create.op));
    summary.unsaveable = unsaveable_reason(session, *object, cubins);
    all.push_back(std::move(summary));
  }
  for (const Allocation& allocation : session.memory().allocations()) {
    all.push_back({handle_type_name(HandleType::device_memory), allocation.address,
                   allocation.bytes, call_name(CallId::cuMemAlloc), {}});
  }
  for (const auto& [stream, capture] : session.captures()) {
    all.push_back({"capture", capture.graph, 0, call_name(CallId::phos_begin_capture),
                   "a stream capture is under way"});
  }
  return all;
}

void Executor::check_context(const char* step) {
  const CUresult error = session_->context_error();
  if (error == CUDA_SUCCESS) return;
  throw Failure(Code::device,
                std::string(step) + ": the context is in error " + std::to_string(error) +
                    ", and its memory cannot be read any more. Start the program again.",
                {{"step", step}});
}

void Executor::check_at_rest(const char* step) {
  Session& session = live_session();
  const DrainState state = drain_->state();
  check_context(step);
  const bool attached = state.attached;
  const bool gate_open = attached && !gate_closed_;
  const bool at_rest = state.parked == 0 && state.waits == 0 && session.helpers().busy() == 0 &&
                       session.captures().empty() && session.streams().idle();
  if (gate_open || !at_rest) {
    throw Failure(Code::conflict,
                  std::string(step) + ": commands are under way. Close the gate and drain to the "
                                      "cut first.",
                  {{"step", step}}, true);
  }
}

LoadResult Executor::load(const std::string& directory, const ReadOptions& options,
                          const Progress& progress) {
  const std::lock_guard control(control_);
  Session& session = live_session();
  const std::uint32_t lanes = std::clamp(options.lanes, 1U, kMaxLanes);
  LoadResult result;
  auto start = Clock::now();
  const ImageIndex index = read_index(directory, options.key);
  const SnapshotFacts& facts = index.snapshot.facts;
  if (facts.driver != facts_->driver || facts.device_name != facts_->name ||
      facts.compute_major != facts_->compute_major ||
      facts.compute_minor != facts_->compute_minor ||
      facts.window_base != session.memory().base()) {
    throw Failure(Code::unsupported,
                  "The image is of a " + facts.device_name + " (driver " + facts.driver +
                      ") and this device is a " + facts_->name + " (driver " + facts_->driver +
                      "). Restore it on a device of the same kind.",
                  {{"image", facts.device_name}, {"device", facts_->name}});
  }
  {
    const std::lock_guard lock(state_mutex_);
    if (state_ != State::ready && state_ != State::expecting) {
      throw Failure(Code::conflict, "Loading: this executor has a client already; use another.");
    }
    const std::string id = hex_of(facts.client_id, 16);
    if (!client_id_.empty() && client_id_ != id) {
      throw Failure(Code::conflict, "Loading: this executor expects client " + client_id_ +
                                        " and the image is of client " + id + ".");
    }
    client_id_ = id;
  }
  result.verify_ms = ms_since(start);
  start = Clock::now();
  later_ = rebuild(session, *drain_, index.snapshot);
  result.objects_ms = ms_since(start);
  start = Clock::now();
  DevicePort port(session.driver(), session.context(), lanes);
  result.read_bytes = read_chunks(index, &port, lanes, options.content, progress);
  result.copy_ms = ms_since(start);
  {
    const SessionLock lock(session);
    loaded_cut_ = facts.cut;
    gate_closed_ = true;
  }
  result.cut = facts.cut;
  result.client_id = hex_of(facts.client_id, 16);
  result.objects = index.snapshot.objects.size();
  result.chunks = index.chunks.size();
  result.device_bytes = index.device_bytes;
  return result;
}

SuspendResult Executor::suspend(const Progress& progress) {
  const std::lock_guard control(control_);
  Session& session = live_session();
  if (suspended_) throw Failure(Code::conflict, "The client is suspended already.");
  refuse_during_save("Suspending");
  const auto start = Clock::now();
  {
    const SessionLock lock(session);
    session.enter_context();
    check_at_rest("Suspending");
    session.memory().reclaim(session.streams());
  }
  auto moved = SuspendedMemory::move_out(session, session.memory().live_ranges(), progress);
  {
    const SessionLock lock(session);
    session.memory().unmap_all();
  }
  suspended_ = std::move(moved);
  set_state(State::suspended);
  return {suspended_->device_bytes(), suspended_->host_bytes(), ms_since(start)};
}

SuspendResult Executor::resume(const Progress& progress) {
  const std::lock_guard control(control_);
  Session& session = live_session();
  if (!suspended_) throw Failure(Code::conflict, "The client is not suspended.");
  const auto start = Clock::now();
  {
    const SessionLock lock(session);
    session.enter_context();
    check_driver(session.driver(), session.memory().remap_all(),
                 "Taking device memory again (the client stays suspended)");
  }
  try {
    suspended_->move_in(session, progress);
  } catch (...) {
    const SessionLock lock(session);
    session.memory().unmap_all();
    throw;
  }
  const SuspendResult result{suspended_->device_bytes(), suspended_->host_bytes(),
                             ms_since(start)};
  suspended_.reset();
  set_state(drain_->header() != nullptr ? State::attached : State::expecting);
  return result;
}

ExecutorStatus Executor::status() {
  ExecutorStatus status;
  {
    const std::lock_guard lock(state_mutex_);
    status.state = state_;
    status.client_id = client_id_;
  }
  status.device = facts_;
  if (!session_) return status;
  status.client_pid = server_ ? server_->client_pid() : 0;
  status.commands = drain_->commands();
  status.sync_commands = session_->sync_commands();
  status.deferred_errors = session_->deferred_errors();
  status.last_deferred_error = session_->last_deferred_error();
  status.arena_bytes = session_->arenas().total_bytes();
  status.context_error = static_cast<std::uint32_t>(session_->context_error());
  status.unsupported_calls = session_->unsupported_calls();
  const SessionLock lock(*session_);
  const DrainState state = drain_->state();
  status.head = state.head;
  status.tail = state.position;
  status.parked_commands = state.parked;
  status.pending_waits = state.waits;
  status.gate_closed = gate_closed_;
  status.device_bytes_used = session_->memory().used_bytes();
  status.device_bytes_reserved = session_->memory().mapped_bytes();
  status.objects = session_->objects().size();
  if (const RingHeader* header = drain_->header()) {
    status.gate_waits = header->gate_waits.load(std::memory_order_relaxed);
    status.gate_wait_ns = header->gate_wait_ns.load(std::memory_order_relaxed);
  }
  return status;
}

}  // namespace phos::executor
