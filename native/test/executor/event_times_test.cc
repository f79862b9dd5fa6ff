// SPDX-License-Identifier: Apache-2.0
// Times between events of which some were recorded before a checkpoint. What took time before it
// takes the same time after it, through any number of checkpoints.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "saving.h"

namespace phos::test {
namespace {

using executor::SaveMode;

constexpr std::uint64_t kBytes = 32u << 20;
constexpr std::uint32_t kStream = 1;
constexpr std::uint32_t kFirst = 1;
constexpr std::uint32_t kSecond = 2;
constexpr std::uint32_t kThird = 3;

void begin(SimClient& client) {
  client.make_stream(kStream);
  for (const std::uint32_t event : {kFirst, kSecond, kThird}) client.make_event(event);
  client.allocate(0, kBytes);
  client.record(kFirst, kStream);
  client.set(0, 0, kBytes, 7, kStream);
  client.record(kSecond, kStream);
  client.synchronise();
}

void save(SimClient& client, const Folder& folder, SaveMode mode) {
  client.cut(true);
  const auto ring = client.ring_copy();
  const auto places = client.places();
  client.executor().save_begin(options_of(mode, image_in(folder)));
  keep_cut(ring, places, folder);
  client.executor().save_finish({});
}

void keep(const Folder& folder, float ms) { std::ofstream(folder.path() + "/ms") << ms; }
float kept(const Folder& folder) {
  float ms = 0;
  std::ifstream(folder.path() + "/ms") >> ms;
  return ms;
}

// Single precision over a program's life, and the text of the file.
bool is_near(float a, float b) { return std::fabs(a - b) <= 0.001F * std::fabs(b) + 0.01F; }

class EventTimes : public testing::TestWithParam<SaveMode> {};

TEST_P(EventTimes, StayThroughTwoCheckpoints) {
  const Folder first;
  const Folder second;
  ASSERT_EQ(in_child(0, [&] {
              SimClient client;
              begin(client);
              keep(first, client.elapsed_ms(kFirst, kSecond));
              save(client, first, GetParam());
            }),
            "");
  ASSERT_GT(kept(first), 0);
  ASSERT_EQ(in_child(0, [&] {
              const auto client = bring_back(first);
              require(is_near(client->elapsed_ms(kFirst, kSecond), kept(first)), "another time");
              client->record(kThird, kStream);
              client->synchronise();
              const float all = client->elapsed_ms(kFirst, kThird);
              const float rest = client->elapsed_ms(kSecond, kThird);
              require(rest >= 0 && is_near(all, kept(first) + rest), "the parts are not the whole");
              require(is_near(client->elapsed_ms(kThird, kFirst), -all), "backwards");
              keep(second, all);
              save(*client, second, GetParam());
            }),
            "");
  EXPECT_EQ(in_child(0, [&] {
              const auto client = bring_back(second);
              require(is_near(client->elapsed_ms(kFirst, kThird), kept(second)), "another time");
              // Recorded again, it is an event like any other.
              client->record(kFirst, kStream);
              client->synchronise();
              require(client->elapsed_ms(kThird, kFirst) >= 0, "recorded again");
            }),
            "");
}

INSTANTIATE_TEST_SUITE_P(Modes, EventTimes, testing::Values(SaveMode::stop, SaveMode::snapshot),
                         [](const auto& one) { return executor::name_of(one.param); });

}  // namespace
}  // namespace phos::test
