// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/pages.h"

#include <sys/mman.h>

namespace phos::sim {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kHugePage = 2U << 20;

std::uint64_t whole_pages(std::uint64_t bytes) noexcept {
  return (bytes + kPage - 1) / kPage * kPage;
}

}  // namespace

std::byte* map_pages(std::uint64_t bytes) noexcept {
  void* pages = mmap(nullptr, whole_pages(bytes), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  // A hint: a system without huge pages refuses it, and nothing is lost.
  if (bytes >= kHugePage) madvise(pages, whole_pages(bytes), MADV_HUGEPAGE);
  return static_cast<std::byte*>(pages);
}

void unmap_pages(std::byte* pages, std::uint64_t bytes) noexcept {
  // SAFETY: the caller's promise.
  munmap(pages, whole_pages(bytes));
}

}  // namespace phos::sim
