// SPDX-License-Identifier: Apache-2.0
// Six bugs of the checkpoint engine, planted one at a time: each must be found over a few seeds of
// sim's scheduler, by a program that ends otherwise, or by hashes that do not match. This program
// compiles the engine's files with PHOS_PLANTED_BUGS; the product has none of it.
#include <gtest/gtest.h>

#include "executor/planted.h"
#include "saving.h"

namespace phos::test {
namespace {

using executor::Planted;
using executor::SaveMode;

constexpr std::uint64_t kSeeds = 12;

struct Bug {
  const char* name;
  Planted planted;
  SaveMode mode;
};

const Bug kBugs[] = {
    {"NoWaitBefore", Planted::no_wait_before, SaveMode::snapshot},
    {"NoWaitAfter", Planted::no_wait_after, SaveMode::snapshot},
    {"OneStreamForgotten", Planted::one_stream_forgotten, SaveMode::snapshot},
    {"UnmapEarly", Planted::unmap_early, SaveMode::snapshot},
    {"AsideAfterLaunch", Planted::aside_after_launch, SaveMode::cow},
    {"HashBeforeDrain", Planted::hash_before_drain, SaveMode::cow},
};

constexpr std::uint64_t kBytes = 3U << 20;
// Work before the cut that lasts longer than it takes to get there.
constexpr std::uint8_t kRounds = 40;

void setup(SimClient& client) {
  client.load_module(0, kKernels);
  client.make_stream(1);
  client.make_stream(2);
  for (std::uint32_t place = 0; place < 4; ++place) {
    client.allocate(place, kBytes);
    client.set(place, 0, kBytes, static_cast<std::uint8_t>(0x10 + place), 1);
  }
  client.synchronise();
}

// Both streams are busy at the cut (step 1). Afterwards the program keeps what it had then, and
// overwrites it.
Program busy_program() {
  return {"busy",
          {setup},
          {
              [](SimClient& client) {
                for (std::uint8_t round = 1; round <= kRounds; ++round) {
                  client.set(0, 0, kBytes, round, 1);
                  client.set(1, 0, kBytes, static_cast<std::uint8_t>(round + 0x60), 2);
                }
              },
              [](SimClient& client) {
                client.copy(2, 0, 0, 0, kBytes, 1);
                client.copy(3, 0, 1, 0, kBytes, 2);
                client.set(0, 0, kBytes, 0x41, 1);
                client.set(1, 0, kBytes, 0x42, 2);
              },
          },
          false};
}

// Nothing is under way at the cut (step 1); then memory goes that the copy still reads. It is not
// the last of the window, and what comes instead does not fit there.
Program freeing_program() {
  return {"freeing",
          {setup},
          {
              [](SimClient& client) { client.synchronise(); },
              [](SimClient& client) {
                client.free(1);
                client.allocate(4, kBytes + (4U << 20));
                client.set(4, 0, kBytes, 0x51, 2);
              },
          },
          false};
}

// What is wrong with one save at step 1, while both streams work.
std::string problem_of(const Bug& bug, Planted planted, std::uint64_t seed) {
  const bool freeing = bug.planted == Planted::unmap_early;
  const Program program = freeing ? freeing_program() : busy_program();
  const std::string expected = undisturbed(program, seed);
  executor::plant(planted);
  const std::string problem = save_at(program, 1, bug.mode, seed, expected);
  executor::plant(Planted::none);
  return problem;
}

class PlantedBugs : public testing::TestWithParam<Bug> {};

TEST_P(PlantedBugs, AreFound) {
  int found = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds && found == 0; ++seed) {
    if (!problem_of(GetParam(), GetParam().planted, seed).empty()) ++found;
  }
  EXPECT_GT(found, 0) << "no seed of " << kSeeds << " found it";
}

TEST_P(PlantedBugs, AreNotImagined) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    EXPECT_EQ(problem_of(GetParam(), Planted::none, seed), "") << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Engine, PlantedBugs, testing::ValuesIn(kBugs),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace phos::test
