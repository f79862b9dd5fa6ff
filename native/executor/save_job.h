// SPDX-License-Identifier: Apache-2.0
// One save under way: begun at a cut with the gate closed, finished (or given up) afterwards.
//
//   stop      nothing is copied ahead: the gate stays closed until finish() has come back
//   snapshot  the device copies all of the cut's memory into free device memory, while it holds the
//             program's streams; the gate may open at once, and finish() brings the copy out
//   cow       the device hashes all of the cut's memory while it holds the program's streams; what
//             the program is about to write is copied aside first (copy_on_write.h)
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "executor/checkpoint.h"
#include "executor/copy_on_write.h"
#include "executor/device_hold.h"
#include "executor/device_source.h"
#include "executor/image.h"
#include "executor/parking.h"
#include "executor/session.h"
#include "executor/shadow_memory.h"

namespace phos::executor {

// Copies that a cut may put before the program while it is held: with everything else under 200
// driver calls. Small ones go together in one call where there are more.
inline constexpr std::size_t kMaxCopies = 128;
inline constexpr std::size_t kMaxBatchedCopies = 65'536;
inline constexpr std::uint64_t kBatchedBytes = std::uint64_t{1} << 20;

enum class SaveMode : std::uint8_t { stop, snapshot, cow, automatic };
const char* name_of(SaveMode mode) noexcept;

struct SaveOptions {
  std::string directory;
  WriteOptions image;
  SaveMode mode = SaveMode::stop;
  // Opens the gate as soon as the device holds the program by itself, before the copy is done.
  bool open_gate = false;
  std::uint32_t deadline_ms = 60'000;  // of begin()
  std::uint64_t pool_bytes = 0;        // most that cow copies aside at a time; 0: what is free
};

// What is known when the gate may open. Bytes and times of the device.
struct SaveBegun {
  std::uint64_t cut = 0;
  SaveMode mode = SaveMode::stop;  // what was chosen
  bool gate_may_open = false;      // false: only after finish
  bool gate_opened = false;
  std::uint64_t objects = 0;
  std::uint64_t device_bytes = 0;
  std::uint64_t copied_bytes = 0;  // on the device, at the cut
  std::uint64_t hashed_bytes = 0;  // on the device, at the cut
  HoldFigures hold;
};

struct SaveReport {
  SaveResult image;
  SaveMode mode = SaveMode::stop;
  std::uint64_t copied_bytes = 0;
  std::uint64_t hashed_bytes = 0;
  HoldFigures hold;  // with every stream that was held
  AsideFigures aside;
  // Kernels that ran since the cut, when saved bytes were not those of the cut (aside.missed): the
  // image is worthless, and the cut is lost.
  std::vector<std::string> suspects;
};

class SaveJob {
 public:
  // `snapshot` is of the cut. With the session's lock.
  // `spare` is memory for what the device copies, or null.
  SaveJob(Session& session, ChangeHasher& hasher, Snapshot snapshot, SaveOptions options,
          std::unique_ptr<ShadowMemory> spare = nullptr);
  ~SaveJob();
  SaveJob(const SaveJob&) = delete;
  SaveJob& operator=(const SaveJob&) = delete;

  // Chooses the mode, takes memory and makes what the hold needs. With the lock; nothing is held.
  void prepare();
  // Puts the copy behind everything before the cut and holds what comes after it. With the lock.
  void submit();
  // Waits until the gate may open. Without the lock. TIMEOUT naming what is under way, DEVICE,
  // CANCELLED.
  SaveBegun begun(std::chrono::steady_clock::time_point deadline);
  // Streams everything into the image's folder. Without the lock.
  SaveReport finish(const Progress& progress);
  // Lets the program go, and makes finish() end with CANCELLED. Any thread, any time.
  void abort() noexcept;
  bool aborted() const noexcept { return aborted_.load(); }
  // Gives back what was borrowed; false while the device is still using it. With the lock.
  bool try_release();

  // Device memory that the program would have if there were no save.
  std::uint64_t borrowed_bytes() const noexcept { return shadow_->bytes(); }
  // `then` runs with the session's lock once that has been given back. With the lock.
  void when_released(std::function<void()> then) { released_.push_back(std::move(then)); }

  SaveMode mode() const noexcept { return mode_; }
  const SaveOptions& options() const noexcept { return options_; }

  // --- asked by the drain, with the lock ---------------------------------------------------
  // May the command go to the driver now?
  bool admits(const Command& command, const OrderPlace& place);
  // Before a command goes to a stream that is not capturing.
  void before_command(const Command& command, std::uint64_t wire, CUstream real);
  // May memory that the program has given up be unmapped, or a variable go with its module?
  bool may_reuse(const MemoryRange& range);

 private:
  struct Copy {
    std::uint64_t address;
    std::uint64_t bytes;
    std::uint64_t shadow;  // offset in the shadow memory
  };
  class Port;
  struct Plan;
  Plan plan_of(SaveMode mode) const;
  bool try_mode(SaveMode mode);
  void refuse(SaveMode mode) const;
  bool may_copy(const Plan& plan) const;
  std::uint64_t available_bytes() const;
  void submit_copies();
  std::vector<Digest> change_hashes();
  CUresult submit_batch(const std::vector<const Copy*>& batch);
  bool is_captured(const OrderPlace& place);
  void note_kernel(const Command& command);
  bool has_let_go();
  void throw_if_aborted() const;
  bool has_passed(std::chrono::steady_clock::time_point deadline);
  std::uint64_t shadow_of(std::uint64_t address) const;

  Session& session_;
  const Snapshot snapshot_;
  const SaveOptions options_;
  // Of this image's hashes: its parent's, so that they can be compared.
  const std::uint64_t seed_;
  SaveMode mode_;
  std::unique_ptr<ShadowMemory> shadow_;
  DeviceHold hold_;
  ChangeHasher& hasher_;
  std::unique_ptr<CopyOnWrite> cow_;
  std::vector<Copy> copies_;  // ascending by address
  std::uint64_t copied_bytes_ = 0;
  std::vector<std::function<void()>> released_;
  std::map<std::uint64_t, std::string> kernels_;  // by handle: launched since the cut
  std::uint64_t device_bytes_ = 0;
  std::atomic<bool> copied_{false};
  std::atomic<bool> aborted_{false};
  std::atomic<CUresult> failure_{CUDA_SUCCESS};
};

}  // namespace phos::executor
