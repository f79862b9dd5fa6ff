// SPDX-License-Identifier: Apache-2.0
// The client's host memory that the executor shares: memfds mapped at the client's own addresses
// and registered with the driver, so that the device reads and writes the very pages.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "gen/driver_table.h"
#include "phos/staging_layout.h"
#include "phos/wire.h"

namespace phos::executor {

struct ArenaFacts {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  wire::ArenaKind kind = wire::ArenaKind::pinned;
};

// Safe from any thread.
class HostArenas {
 public:
  HostArenas(const DriverTable& driver, CUcontext context) : driver_(driver), context_(context) {}
  ~HostArenas() { clear(); }

  // Maps and registers one arena; takes the descriptor (it is closed in any case). Refuses
  // addresses outside the arena window, overlaps, and memory that its owner could shrink.
  CUresult add(const ArenaFacts& facts, int fd);
  CUresult remove(std::uint64_t address);
  void clear();

  // True when [address, address + bytes) lies in one arena.
  bool contains(std::uint64_t address, std::uint64_t bytes);
  bool covers(std::uint64_t address);  // some arena holds this address
  std::uint64_t total_bytes();
  std::vector<ArenaFacts> all();

  // The staging arena's header, null while there is none.
  StagingHeader* staging() noexcept { return staging_.load(std::memory_order_acquire); }
  // Gives back the staging slots that [address, address + bytes) touches.
  void release_slots(std::uint64_t address, std::uint64_t bytes) noexcept;

  // Registrations go and come back with the context (suspend, resume).
  void unregister_all();
  CUresult register_all();

 private:
  struct Arena {
    ArenaFacts facts;
    bool registered = false;
  };
  CUresult register_one(Arena& arena);
  void unmap(Arena& arena);

  const DriverTable& driver_;
  const CUcontext context_;
  std::mutex mutex_;
  std::map<std::uint64_t, Arena> arenas_;
  std::atomic<StagingHeader*> staging_{nullptr};
};

}  // namespace phos::executor
