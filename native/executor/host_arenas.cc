// SPDX-License-Identifier: Apache-2.0
#include "executor/host_arenas.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "executor/window.h"
#include "ring/futex.h"

namespace phos::executor {

namespace {

// SAFETY: arena addresses are the client's and are mapped by add() at the same place here.
void* pointer_to(std::uint64_t address) noexcept { return reinterpret_cast<void*>(address); }

bool cannot_shrink(int fd, std::uint64_t bytes) noexcept {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || status.st_size < 0) return false;
  if (static_cast<std::uint64_t>(status.st_size) < bytes) return false;
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

}  // namespace

CUresult HostArenas::add(const ArenaFacts& facts, int fd) {
  const std::uint64_t base = arena_window_base();
  const std::uint64_t offset = facts.address - base;
  const bool inside = facts.address >= base && offset < arena_window_bytes() && facts.bytes != 0 &&
                      facts.bytes <= arena_window_bytes() - offset;
  const bool aligned = facts.address % 4096 == 0 && facts.bytes % 4096 == 0;
  if (!inside || !aligned || !cannot_shrink(fd, facts.bytes)) {
    ::close(fd);
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::lock_guard lock(mutex_);
  // SAFETY: NOREPLACE refuses every address at which something lies; the memfd cannot shrink.
  void* place = ::mmap(pointer_to(facts.address), facts.bytes, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
  ::close(fd);
  if (place == MAP_FAILED) return CUDA_ERROR_INVALID_VALUE;
  if (place != pointer_to(facts.address)) {
    ::munmap(place, facts.bytes);
    return CUDA_ERROR_INVALID_VALUE;
  }
  Arena arena{facts, false};
  if (facts.kind == wire::ArenaKind::staging) {
    auto* header = static_cast<StagingHeader*>(place);
    const bool fits = facts.bytes >= kStagingBytes && header->magic == kStagingMagic &&
                      header->slots == kStagingSlots && header->slot_bytes == kStagingSlotBytes &&
                      header->callback_slots == kCallbackSlots;
    if (!fits || staging_.load() != nullptr) {
      ::munmap(place, facts.bytes);
      return CUDA_ERROR_INVALID_VALUE;
    }
    staging_.store(header, std::memory_order_release);
  }
  const CUresult result = register_one(arena);
  if (result != CUDA_SUCCESS) {
    unmap(arena);
    return result;
  }
  arenas_.emplace(facts.address, arena);
  return CUDA_SUCCESS;
}

CUresult HostArenas::register_one(Arena& arena) {
  CUresult result = driver_.cuCtxSetCurrent(context_);
  if (result != CUDA_SUCCESS) return result;
  result = driver_.cuMemHostRegister(pointer_to(arena.facts.address), arena.facts.bytes,
                                     CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP);
  arena.registered = result == CUDA_SUCCESS;
  return result;
}

void HostArenas::unmap(Arena& arena) {
  if (arena.registered) driver_.cuMemHostUnregister(pointer_to(arena.facts.address));
  arena.registered = false;
  StagingHeader* header = staging_.load();
  if (header == pointer_to(arena.facts.address)) staging_.store(nullptr);
  ::munmap(pointer_to(arena.facts.address), arena.facts.bytes);
}

CUresult HostArenas::remove(std::uint64_t address) {
  const std::lock_guard lock(mutex_);
  const auto found = arenas_.find(address);
  if (found == arenas_.end()) return CUDA_ERROR_INVALID_VALUE;
  driver_.cuCtxSetCurrent(context_);
  unmap(found->second);
  arenas_.erase(found);
  return CUDA_SUCCESS;
}

void HostArenas::clear() {
  const std::lock_guard lock(mutex_);
  if (!arenas_.empty()) driver_.cuCtxSetCurrent(context_);
  for (auto& [address, arena] : arenas_) unmap(arena);
  arenas_.clear();
}

bool HostArenas::contains(std::uint64_t address, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  auto it = arenas_.upper_bound(address);
  if (it == arenas_.begin()) return false;
  --it;
  const std::uint64_t offset = address - it->first;
  return offset < it->second.facts.bytes && bytes <= it->second.facts.bytes - offset;
}

bool HostArenas::covers(std::uint64_t address) { return contains(address, 1); }

std::uint64_t HostArenas::total_bytes() {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& [address, arena] : arenas_) sum += arena.facts.bytes;
  return sum;
}

std::vector<ArenaFacts> HostArenas::all() {
  const std::lock_guard lock(mutex_);
  std::vector<ArenaFacts> facts;
  for (const auto& [address, arena] : arenas_) facts.push_back(arena.facts);
  return facts;
}

void HostArenas::release_slots(std::uint64_t address, std::uint64_t bytes) noexcept {
  StagingHeader* header = staging_.load(std::memory_order_acquire);
  if (header == nullptr || bytes == 0) return;
  const std::uint64_t data = reinterpret_cast<std::uint64_t>(header) + kStagingDataOffset;
  if (address < data) return;
  const std::uint64_t first = (address - data) / kStagingSlotBytes;
  const std::uint64_t last = (address - data + bytes - 1) / kStagingSlotBytes;
  for (std::uint64_t slot = first; slot <= last && slot < kStagingSlots; ++slot) {
    header->slot_state[slot].store(0, std::memory_order_release);
  }
  header->released.fetch_add(1, std::memory_order_seq_cst);
  ring::futex_wake(header->released, 1 << 30, ring::Scope::shared);
}

void HostArenas::unregister_all() {
  const std::lock_guard lock(mutex_);
  for (auto& [address, arena] : arenas_) {
    if (arena.registered) driver_.cuMemHostUnregister(pointer_to(address));
    arena.registered = false;
  }
}

CUresult HostArenas::register_all() {
  const std::lock_guard lock(mutex_);
  for (auto& [address, arena] : arenas_) {
    if (arena.registered) continue;
    const CUresult result = register_one(arena);
    if (result != CUDA_SUCCESS) return result;
  }
  return CUDA_SUCCESS;
}

}  // namespace phos::executor
