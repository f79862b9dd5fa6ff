// SPDX-License-Identifier: Apache-2.0
// Reservations of a library get addresses that follow from its own calls only.
#include "drivers/cuda/reservations.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "phos/placing.h"

namespace phos::cuda {
namespace {

using Reserve = void* (*)(void* hint, std::size_t bytes, int prot, int flags);
constexpr std::size_t kBytes = 5U << 20;

std::uint64_t number(const void* at) { return reinterpret_cast<std::uint64_t>(at); }
bool is_ours(std::uint64_t at) {
  return at >= kReservationsBase &&
         at < kReservationsBase + kReservationLanes * kReservationLaneBytes;
}

struct Library {
  void* handle = nullptr;
  Reserve reserve = nullptr;
  Redirection redirection;
};

Library open_library(const char* path) {
  Library library;
  library.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library.handle == nullptr) return library;
  library.reserve = reinterpret_cast<Reserve>(dlsym(library.handle, "reserve"));
  library.redirection = redirect_reservations(library.handle);
  return library;
}

// What `body` returns, worked out in a process of its own: every one starts with fresh lanes and
// libraries that nobody has changed.
template <class Body>
std::vector<std::uint64_t> in_child(std::size_t count, const Body& body) {
  auto* shared = static_cast<std::uint64_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const pid_t child = fork();
  if (child == 0) {
    const std::vector<std::uint64_t> got = body();
    std::memcpy(shared, got.data(), got.size() * sizeof(got[0]));
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  std::vector<std::uint64_t> result(shared, shared + count);
  munmap(shared, 4096);
  return result;
}

class Reservations : public testing::TestWithParam<const char*> {};

TEST_P(Reservations, StandAsideFromWhateverElseIsMapped) {
  const auto run = [](std::size_t others) {
    return in_child(3, [others] {
      std::vector<std::uint64_t> got;
      const Library library = open_library(GetParam());
      for (std::size_t i = 0; i < others; ++i) {
        if (mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) {
          _exit(2);
        }
      }
      // What the program does besides, and what a restore repeats.
      for (std::size_t i = 0; i < others; ++i) library.reserve(nullptr, kBytes, PROT_NONE, 0);
      const PlacingScope placing;
      for (int i = 0; i < 2; ++i) {
        got.push_back(number(library.reserve(nullptr, kBytes, PROT_NONE, 0)));
      }
      got.push_back(number(library.reserve(nullptr, 4096, PROT_READ | PROT_WRITE, 0)));
      return got;
    });
  };
  const auto first = run(0);
  for (const std::uint64_t at : first) EXPECT_TRUE(is_ours(at));
  EXPECT_EQ(run(7), first);
}

TEST_P(Reservations, LeaveWhatNamesAnAddressToTheKernel) {
  const auto got = in_child(5, [] {
    const Library library = open_library(GetParam());
    void* const own = library.reserve(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    static_cast<char*>(own)[kBytes - 1] = 1;
    void* const again = library.reserve(own, kBytes, PROT_READ, MAP_FIXED);
    if (munmap(own, kBytes) != 0) _exit(2);
    void* const named = reinterpret_cast<void*>(0x6f0000000000);
    void* const hinted = library.reserve(named, 4096, PROT_NONE, 0);
    // This very program's own calls are nobody else's business.
    void* const mine = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return std::vector<std::uint64_t>{library.redirection.slots, number(own), number(again),
                                      number(hinted), number(mine)};
  });
  EXPECT_GT(got[0], 0U);
  EXPECT_TRUE(is_ours(got[1]));
  EXPECT_EQ(got[2], got[1]);
  EXPECT_EQ(got[3], 0x6f0000000000U);
  EXPECT_FALSE(is_ours(got[4]));
}

TEST_P(Reservations, GoAroundWhatLiesThereAlready) {
  const auto got = in_child(1, [] {
    const Library library = open_library(GetParam());
    void* const wanted = reinterpret_cast<void*>(kReservationsBase + 2 * kReservationLaneBytes);
    void* const there = mmap(wanted, 4096, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (there != wanted) _exit(2);
    return std::vector<std::uint64_t>{number(library.reserve(nullptr, kBytes, PROT_NONE, 0))};
  });
  EXPECT_GT(got[0], kReservationsBase + 2 * kReservationLaneBytes);
  EXPECT_LT(got[0], kReservationsBase + 3 * kReservationLaneBytes);
}

TEST_P(Reservations, CanBeLeftToTheKernel) {
  const auto got = in_child(1, [] {
    setenv("PHOS_CUDA_RESERVATIONS", "kernel", 1);
    const Library library = open_library(GetParam());
    return std::vector<std::uint64_t>{number(library.reserve(nullptr, kBytes, PROT_NONE, 0))};
  });
  EXPECT_FALSE(is_ours(got[0]));
}

INSTANTIATE_TEST_SUITE_P(Linked, Reservations,
                         testing::Values(PHOS_TEST_RESERVER_NOW, PHOS_TEST_RESERVER_LAZY));

}  // namespace
}  // namespace phos::cuda
