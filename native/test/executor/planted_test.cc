// SPDX-License-Identifier: Apache-2.0
// Six bugs of the checkpoint engine, planted one at a time: each must be found over a few seeds of
// sim's scheduler, by a program that ends otherwise, or by hashes that do not match. This program
// compiles the engine's files with PHOS_PLANTED_BUGS; the product has none of it.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "executor/failure.h"
#include "executor/planted.h"
#include "saving.h"

namespace phos::test {
namespace {

using executor::Planted;
using executor::SaveMode;
using namespace std::chrono_literals;

constexpr std::uint64_t kSeeds = 6;

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
constexpr std::uint32_t kWord = 4;  // the place of two words, each of which holds a stream
// How long the device is kept from the work before the cut: a copy that does not wait for it has
// ended by then. On a slow machine, or under a sanitizer, it may not have: later seeds wait longer.
constexpr auto kHeld = 60ms;
constexpr auto held_for(std::uint64_t seed) { return kHeld * (1U << ((seed - 1) / 2 * 2)); }

void setup(SimClient& client) {
  client.load_module(0, kKernels);
  client.make_stream(1);
  client.make_stream(2);
  for (std::uint32_t place = 0; place <= kWord; ++place) {
    client.allocate(place, place == kWord ? 4096 : kBytes, place != kWord);
    client.set(place, 0, place == kWord ? 4096 : kBytes, place == kWord ? 0 : 0x11, 1);
  }
  client.synchronise();
}

// Both streams have work before the cut, which the device may not begin yet.
void before_cut(SimClient& client) {
  client.await_word(kWord, 0, 1);
  client.await_word(kWord, 4, 2);
  client.set(0, 0, kBytes, 0x31, 1);
  client.set(1, 0, kBytes, 0x32, 2);
}

// The program keeps what it had at the cut, and overwrites it.
void after_cut(SimClient& client) {
  client.copy(2, 0, 0, 0, kBytes, 1);
  client.copy(3, 0, 1, 0, kBytes, 2);
  client.set(0, 0, kBytes, 0x41, 1);
  client.set(1, 0, kBytes, 0x42, 2);
}

// Nothing is under way at the cut; then memory goes that the copy still reads. It is not the last
// of the window, and what comes instead does not fit there.
void free_after_cut(SimClient& client) {
  client.free(1);
  client.allocate(5, kBytes + (4U << 20));
  client.set(5, 0, kBytes, 0x51, 2);
}

void let_go(SimClient& client, std::uint64_t word) {
  executor::Session& session = client.executor().session();
  const DriverTable& driver = session.driver();
  CUstream stream = nullptr;
  require(driver.cuCtxSetCurrent(session.context()) == CUDA_SUCCESS &&
              driver.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS &&
              driver.cuStreamWriteValue32(stream, word, 1, 0) == CUDA_SUCCESS,
          "letting the streams go");
}

// Saves while a thread of the program waits at the gate, and goes on as soon as it opens.
void save_busy(const Bug& bug, bool freeing, std::uint64_t seed, const Folder& folder) {
  SimClient client;
  setup(client);
  const std::uint64_t word = client.at(kWord);
  if (!freeing) before_cut(client);
  client.cut(freeing);
  keep_cut(client, folder);
  std::atomic<bool> begun{false};
  std::thread program([&] { freeing ? free_after_cut(client) : after_cut(client); });
  std::thread other([&] {
    // Open: what the engine does at the cut has been given to the device.
    while (client.executor().status().gate_closed) std::this_thread::sleep_for(1ms);
    // One stream after the other: whichever is forgotten is the later one for some seed.
    for (std::uint64_t turn = 0; turn < 2 && !freeing; ++turn) {
      const auto until = std::chrono::steady_clock::now() + held_for(seed);
      while (!begun && std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(1ms);
      }
      let_go(client, word + (seed + turn) % 2 * 4);
    }
  });
  std::string problem;
  try {
    client.executor().save_begin(options_of(bug.mode, image_in(folder)));
    begun = true;
    program.join();
    const executor::SaveReport report = client.executor().save_finish({});
    if (report.aside.missed != 0) problem = "chunks were missed";
  } catch (const executor::Failure& failure) {
    problem = failure.what();
    client.open_gate();
    begun = true;
    program.join();
  }
  other.join();
  if (!problem.empty()) wrong(problem);
  client.synchronise();
}

// What is wrong with one save at a cut of that kind, with the bug or without.
std::string problem_of(const Bug& bug, Planted planted, std::uint64_t seed) {
  const bool freeing = bug.planted == Planted::unmap_early;
  const Folder folder;
  executor::plant(planted);
  std::string problem = in_child(seed, [&] { save_busy(bug, freeing, seed, folder); });
  executor::plant(Planted::none);
  if (!problem.empty()) return problem;
  return in_child(seed, [&] {
    const auto restored = bring_back(folder);
    const std::string state = restored->state();
    // The same bytes again, which every place had at the cut.
    for (std::uint32_t place = 0; place < kWord; ++place) {
      const bool first = place < 2 && !freeing;
      restored->set(place, 0, kBytes, static_cast<std::uint8_t>(first ? 0x31 + place : 0x11), 1);
    }
    restored->synchronise();
    require(restored->state() == state, "the image is not of the cut");
  });
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
