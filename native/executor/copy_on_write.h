// SPDX-License-Identifier: Apache-2.0
// A cut whose memory is saved while the program writes it: before a command that may write a chunk
// goes to the device, the chunk is copied aside there. What the guess of its writes misses, the
// hashes tell: the device hashes every chunk at the cut, the CPU hashes what was saved.
//
// A chunk is unsaved, being read by a lane from where it lies, copied aside into a slot of a
// bounded pool, or saved. The drain (with the session's lock) copies aside, lanes read; a mutex of
// its own guards the states, and is held for driver calls that only enqueue.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "change-hash/change_hash.h"
#include "executor/change_hasher.h"
#include "executor/device_hold.h"
#include "executor/shadow_memory.h"
#include "executor/write_set.h"

namespace phos::executor {

struct AsideFigures {
  std::uint64_t chunks = 0;        // of the cut
  std::uint64_t copied_aside = 0;  // chunks
  std::uint64_t held_back = 0;     // times that the pool was full for a command
  std::uint64_t missed = 0;        // chunks whose saved bytes are not those of the cut
};

class CopyOnWrite {
 public:
  CopyOnWrite(Session& session, ChangeHasher& hasher, ChangeKey key, std::uint32_t lanes);
  ~CopyOnWrite();
  CopyOnWrite(const CopyOnWrite&) = delete;
  CopyOnWrite& operator=(const CopyOnWrite&) = delete;

  // Device bytes that `chunks` chunks need beside the pool.
  static std::uint64_t scratch_bytes(std::size_t chunks) noexcept;
  // The cut's chunks; `scratch` and `pool` are device memory, the pool `slots` chunks of it. Makes
  // streams, events and pinned memory, and uploads the table. Throws DEVICE.
  void prepare(const std::vector<MemoryRange>& ranges, std::uint64_t scratch, std::uint64_t pool,
               std::uint32_t slots);
  // Hashes every chunk on the hold's stream, between its begin and its end. Throws DEVICE.
  void submit_hash(DeviceHold& hold);
  // Orders what is copied aside behind the hold. After its end.
  void submit_order(DeviceHold& hold);

  // --- the drain ---------------------------------------------------------------------------
  // Sees to it that nothing of the set is unsaved. False: the pool is full, ask again later.
  bool admit(const WriteSet& set);
  // The command that was admitted last goes to this stream now: after what it must not disturb.
  CUresult before_command(CUstream real);
  // May this memory be unmapped or used again?
  bool may_reuse(const MemoryRange& range);
  // Everything is in host memory: nothing more need be asked.
  bool all_saved() const noexcept { return saved_.load() == chunks_.size(); }

  // --- lanes -------------------------------------------------------------------------------
  // Reads a run of whole chunks of the cut into pinned memory, and checks it. Throws DEVICE.
  void read(std::uint32_t lane, std::uint64_t address, void* to, std::size_t bytes);
  // Brings the hashes to the host; the hold has passed. Throws DEVICE.
  void await_hashes();
  // Of the chunks in their order, at the cut. After await_hashes().
  const std::vector<ChangeHash>& hashes() const noexcept { return hashes_; }
  // The image has the chunk's bytes from elsewhere: nobody reads it.
  void skip(std::uint64_t address);

  AsideFigures figures();
  // Our own streams have nothing under way.
  bool quiet() noexcept;

 private:
  enum class Where : std::uint8_t { unsaved, reading, aside, saved };
  struct Chunk {
    std::uint64_t address = 0;
    Where where = Where::unsaved;
    std::uint16_t lane = 0;
    std::uint32_t slot = 0;
  };
  struct Lane {
    CUstream stream = nullptr;
    CUevent event = nullptr;
  };

  std::size_t index_of(std::uint64_t address) const noexcept;  // first chunk that ends behind it
  void collect(const WriteSet& set);
  CUresult copy_aside(Chunk& chunk);
  CUresult flush_planted();
  bool aside_complete() noexcept;
  void enqueue_reads(Lane& lane, std::size_t first, std::size_t count, std::uint8_t* to,
                     std::uint32_t number);
  void check(std::size_t first, std::size_t count, const std::uint8_t* bytes);

  Session& session_;
  ChangeHasher& hasher_;
  const ChangeKey key_;
  std::vector<Chunk> chunks_;  // ascending by address
  std::vector<Lane> lanes_;
  std::uint64_t scratch_ = 0;
  std::uint64_t pool_ = 0;
  CUstream aside_stream_ = nullptr;
  CUevent aside_event_ = nullptr;
  std::vector<ChangeHash> hashes_;

  std::mutex mutex_;
  std::vector<std::uint32_t> free_slots_;
  bool aside_recorded_ = false;
  std::vector<std::size_t> current_;  // chunks of the command that was admitted last
  std::vector<std::size_t> planted_;  // a planted bug's: copied aside too late
  AsideFigures figures_;
  std::atomic<std::size_t> saved_{0};
};

}  // namespace phos::executor
