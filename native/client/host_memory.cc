// SPDX-License-Identifier: Apache-2.0
#include "client/host_memory.h"

#include <algorithm>
#include <map>
#include <new>
#include <vector>

#include "client/agent.h"
#include "client/call.h"
#include "client/memory_file.h"
#include "phos/staging_layout.h"

namespace phos::client {

namespace {

constexpr std::uint64_t kAlign = 4096;
constexpr std::uint64_t kFirstSegmentBytes = 4U << 20;
constexpr std::uint64_t kLargestSegmentBytes = 64U << 20;
constexpr std::uint64_t kFirstAddress = kArenaWindow + kStagingBytes + kChunkBytes;

struct Segment {
  std::uint64_t base;
  std::uint64_t bytes;
  SharedArena* arena;
  std::map<std::uint64_t, std::uint64_t> free;  // start -> bytes
  std::map<std::uint64_t, std::uint64_t> used;
  std::uint32_t leaving = 0;  // ranges that wait for the executor's answer
};

// SAFETY: leaked, see process.h.
constinit ring::FutexLock g_lock;
constinit std::vector<Segment*>* g_segments = nullptr;  // by address
constinit std::uint64_t g_next_segment_bytes = kFirstSegmentBytes;

bool carve(Segment& segment, std::uint64_t bytes, std::uint64_t* address) {
  for (auto it = segment.free.begin(); it != segment.free.end(); ++it) {
    if (it->second < bytes) continue;
    *address = it->first;
    const std::uint64_t rest = it->second - bytes;
    segment.free.erase(it);
    if (rest != 0) segment.free.emplace(*address + bytes, rest);
    segment.used.emplace(*address, bytes);
    return true;
  }
  return false;
}

// First gap of the window that is large enough; 0 where there is none.
std::uint64_t find_gap(std::uint64_t bytes) {
  std::uint64_t start = kFirstAddress;
  for (const Segment* segment : *g_segments) {
    if (segment->base - start >= bytes) return start;
    start = segment->base + segment->bytes;
  }
  return kArenaWindow + kArenaWindowBytes - start >= bytes ? start : 0;
}

CUresult add_segment(std::uint64_t bytes, Segment** result) {
  const std::uint64_t wanted = std::max(bytes, g_next_segment_bytes);
  const std::uint64_t size = (wanted + kChunkBytes - 1) & ~(kChunkBytes - 1);
  const std::uint64_t base = find_gap(size);
  if (base == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  SharedArena* arena = nullptr;
  const CUresult status = share_arena(base, size, wire::ArenaKind::pinned, nullptr, &arena);
  if (status != CUDA_SUCCESS) return status;
  auto* segment = new (std::nothrow) Segment{base, size, arena, {{base, size}}, {}, 0};
  if (segment == nullptr) {
    unshare_arena(arena);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  g_next_segment_bytes = std::min(g_next_segment_bytes * 2, kLargestSegmentBytes);
  const auto place = std::upper_bound(g_segments->begin(), g_segments->end(), segment,
                                      [](auto* a, auto* b) { return a->base < b->base; });
  g_segments->insert(place, segment);
  *result = segment;
  return CUDA_SUCCESS;
}

void give_back(Segment& segment, std::uint64_t address, std::uint64_t bytes) {
  auto [it, inserted] = segment.free.emplace(address, bytes);
  const auto next = std::next(it);
  if (next != segment.free.end() && it->first + it->second == next->first) {
    it->second += next->second;
    segment.free.erase(next);
  }
  if (it != segment.free.begin()) {
    const auto before = std::prev(it);
    if (before->first + before->second == it->first) {
      before->second += it->second;
      segment.free.erase(it);
    }
  }
}

CUresult allocate_locked(std::uint64_t bytes, std::uint64_t* address) {
  if (g_segments == nullptr) g_segments = new (std::nothrow) std::vector<Segment*>();
  if (g_segments == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  for (Segment* segment : *g_segments) {
    if (carve(*segment, bytes, address)) return CUDA_SUCCESS;
  }
  Segment* segment = nullptr;
  const CUresult status = add_segment(bytes, &segment);
  if (status != CUDA_SUCCESS) return status;
  return carve(*segment, bytes, address) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

}  // namespace

CUresult allocate_host(std::uint64_t bytes, std::uint64_t* address) noexcept {
  if (bytes == 0 || bytes > kArenaWindowBytes) return CUDA_ERROR_INVALID_VALUE;
  const std::uint64_t size = (bytes + kAlign - 1) & ~(kAlign - 1);
  g_lock.lock();
  const CUresult status = allocate_locked(size, address);
  g_lock.unlock();
  return status;
}

CUresult free_host(std::uint64_t address) noexcept {
  g_lock.lock();
  Segment* owner = nullptr;
  std::uint64_t bytes = 0;
  if (g_segments != nullptr) {
    for (Segment* segment : *g_segments) {
      const auto found = segment->used.find(address);
      if (found == segment->used.end()) continue;
      owner = segment;
      bytes = found->second;
      segment->used.erase(found);
      ++segment->leaving;
      break;
    }
  }
  g_lock.unlock();
  if (owner == nullptr) return CUDA_ERROR_INVALID_VALUE;
  codec::Req_phos_host_free request{};
  request.address = address;
  request.bytes = bytes;
  codec::Rep_phos_host_free reply{};
  const CUresult status = ask(request, &reply);
  g_lock.lock();
  give_back(*owner, address, bytes);
  --owner->leaving;
  // A segment with nothing in it goes, so that the next dump is smaller; one small one may stay.
  if (owner->used.empty() && owner->leaving == 0 &&
      (g_segments->size() > 1 || owner->bytes > kFirstSegmentBytes)) {
    g_segments->erase(std::find(g_segments->begin(), g_segments->end(), owner));
    unshare_arena(owner->arena);
    delete owner;
  }
  g_lock.unlock();
  return status;
}

}  // namespace phos::client
