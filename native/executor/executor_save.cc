// SPDX-License-Identifier: Apache-2.0
// Saves of the executor: begin at a cut, finish while the program may be running, or give up.
#include <algorithm>
#include <chrono>
#include <thread>

#include "executor/executor.h"
#include "executor/helpers.h"
#include "executor/save_job.h"
#include "executor/spare_memory.h"
#include "executor/waits.h"

namespace phos::executor {

namespace {

using Clock = std::chrono::steady_clock;

// Beyond the memory of the window: for variables, and for what rounding adds.
constexpr std::uint64_t kVariableRoom = std::uint64_t{8} << 20;
// Of what copy on write uses, so much is set aside before the cut.
constexpr std::uint64_t kAsideRoom = std::uint64_t{64} << 20;
// How long an end of a save waits for the device to let go of what was borrowed.
constexpr auto kReleasePatience = std::chrono::seconds(10);

}  // namespace

void Executor::refuse_during_save(const char* step) {
  const std::lock_guard lock(state_mutex_);
  if (save_job_ == nullptr) return;
  throw Failure(Code::conflict,
                std::string(step) + ": a save is under way. Finish it or give it up first.",
                {{"step", step}}, true);
}

SnapshotFacts Executor::snapshot_facts() {
  SnapshotFacts facts;
  {
    const std::lock_guard state(state_mutex_);
    parse_hex(client_id_, facts.client_id, 16);
  }
  facts.cut = drain_->state().position;
  facts.driver = facts_->driver;
  facts.device_name = facts_->name;
  facts.driver_version = facts_->driver_version;
  facts.compute_major = facts_->compute_major;
  facts.compute_minor = facts_->compute_minor;
  facts.device_total_bytes = facts_->total_bytes;
  return facts;
}

// Everything before the cut has been given to the driver; on the device it may still be under way.
void Executor::check_at_cut() {
  if (suspended_) {
    throw Failure(Code::conflict, "Saving: the client is suspended; resume it first.");
  }
  check_context("Saving");
  const DrainState state = drain_->state();
  const bool at_cut = (!state.attached || (gate_closed_ && drain_->at_limit())) &&
                      state.parked == 0 && session_->helpers().busy() == 0 &&
                      session_->captures().empty();
  if (at_cut) return;
  throw Failure(Code::conflict,
                "Saving: the cut has not been reached. Close the gate and drain to the cut first.",
                {{"step", "Saving"}}, true);
}

std::uint64_t Executor::save_prepare(SaveMode mode) {
  const std::lock_guard control(control_);
  Session& session = live_session();
  if (mode == SaveMode::stop) return 0;
  auto spare = std::make_shared<SpareMemory>(session.driver(), session.device());
  {
    const SessionLock lock(session);
    session.enter_context();
    const bool dead = suspended_ != nullptr || session.context_error() != CUDA_SUCCESS;
    if (dead || session.save_job() != nullptr) return 0;
    session.drop_spare();
    session.memory().reclaim(session.streams());
    std::uint64_t wanted = kVariableRoom;
    for (const MemoryRange& range : session.memory().live_ranges()) wanted += range.bytes;
    const std::uint64_t free = borrowable_bytes(session.driver());
    if (mode == SaveMode::cow || wanted > free) wanted = std::min(wanted, kAsideRoom);
    if (wanted > free || spare->take(wanted) != CUDA_SUCCESS) return 0;
    session.set_spare(spare);
  }
  // Memory of a simulated device is made by its first use; that of a real one is there.
  if (options_.driver_name != "cuda") {
    session.enter_context();
    spare->touch();
  }
  return spare->bytes();
}

SaveBegun Executor::save_begin(const SaveOptions& wanted) {
  const std::lock_guard control(control_);
  Session& session = live_session();
  SaveOptions options = wanted;
  options.image.lanes = std::clamp(options.image.lanes, 1U, kMaxLanes);
  const auto deadline = Clock::now() + std::chrono::milliseconds(options.deadline_ms);
  std::shared_ptr<SaveJob> earlier;
  {
    const std::lock_guard lock(state_mutex_);
    if (save_job_ && save_job_->aborted() && !save_finishing_) earlier = save_job_;
  }
  // One that was given up while the device was still busy with it may be done by now.
  if (earlier) end_save(earlier);
  refuse_during_save("Saving");
  std::shared_ptr<SaveJob> job;
  bool opened = false;
  try {
    const SessionLock lock(session);
    session.enter_context();
    check_at_cut();
    session.memory().reclaim(session.streams());
    std::unique_ptr<ShadowMemory> spare;
    if (session.spare() != nullptr) {
      spare = session.spare()->release();
      session.set_spare(nullptr);
    }
    job = std::make_shared<SaveJob>(
        session, *hasher_, take_snapshot(session, snapshot_facts(), options_.driver_name == "cuda"),
        options, std::move(spare));
    job->prepare();
    {
      const std::lock_guard state(state_mutex_);
      save_job_ = job;
      save_finishing_ = false;
    }
    session.set_save_job(job.get());
    session.memory().set_guard(
        [raw = job.get()](const MemoryRange& range) { return raw->may_reuse(range); });
    job->submit();
    opened = options.open_gate && job->mode() != SaveMode::stop;
    if (opened) lift_gate();
  } catch (...) {
    if (job) end_save(job);
    throw;
  }
  try {
    SaveBegun begun = job->begun(deadline);
    begun.gate_opened = opened;
    return begun;
  } catch (...) {
    end_save(job);
    throw;
  }
}

SaveReport Executor::save_finish(const Progress& progress) {
  live_session();
  std::shared_ptr<SaveJob> job;
  {
    const std::lock_guard lock(state_mutex_);
    if (save_job_ == nullptr || save_finishing_) {
      throw Failure(Code::conflict, save_finishing_ ? "The save is being finished already."
                                                    : "No save was begun; begin one first.");
    }
    job = save_job_;
    save_finishing_ = true;
  }
  try {
    SaveReport report = job->finish(progress);
    end_save(job);
    return report;
  } catch (...) {
    end_save(job);
    throw;
  }
}

// Without state_mutex_; the session's lock may be held.
void Executor::end_save(const std::shared_ptr<SaveJob>& job) {
  job->abort();
  const auto deadline = Clock::now() + kReleasePatience;
  bool released = false;
  for (;;) {
    {
      const SessionLock lock(*session_);
      session_->enter_context();
      released = job->try_release();
      if (released && session_->save_job() == job.get()) {
        session_->set_save_job(nullptr);
        session_->memory().set_guard(nullptr);
      }
    }
    if (released || Clock::now() >= deadline) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const std::lock_guard lock(state_mutex_);
  save_finishing_ = false;
  // What the device still uses is kept: the next begin, or the end of the executor, looks again.
  if (released && save_job_ == job) save_job_.reset();
}

void Executor::save_abort() {
  std::shared_ptr<SaveJob> job;
  bool finishing = false;
  {
    const std::lock_guard lock(state_mutex_);
    job = save_job_;
    finishing = save_finishing_;
    // Under the lock: a finish that comes later sees it before it reads anything.
    if (job) job->abort();
  }
  if (!job) {
    if (session_ == nullptr) return;
    const SessionLock lock(*session_);
    session_->enter_context();
    session_->drop_spare();
    return;
  }
  // A finish under way ends the save itself when it sees this.
  if (!finishing) end_save(job);
}

void Executor::abandon_save() {
  save_abort();
  const auto deadline = Clock::now() + kReleasePatience;
  while (Clock::now() < deadline) {
    {
      const std::lock_guard lock(state_mutex_);
      if (save_job_ == nullptr) return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

SaveReport Executor::save(const std::string& directory, WriteOptions image,
                          const Progress& progress) {
  SaveOptions options;
  options.directory = directory;
  options.image = std::move(image);
  save_begin(options);
  return save_finish(progress);
}

}  // namespace phos::executor
