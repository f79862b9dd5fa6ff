// SPDX-License-Identifier: Apache-2.0
// Programs that are stopped at every command, saved in every mode while they run on, and brought
// back: both must end as the program that nobody disturbed, byte for byte, whatever order sim's
// scheduler chooses.
#include <gtest/gtest.h>

#include "saving.h"

namespace phos::test {
namespace {

using executor::SaveMode;

class EveryBoundary : public testing::TestWithParam<SaveMode> {};

TEST_P(EveryBoundary, ComesBackTheSame) {
  for (const std::uint64_t seed : {0, 1}) {
    for (const Program& program : all_programs()) {
      const std::string expected = undisturbed(program, seed);
      for (std::size_t at = 0; at <= program.steps.size(); ++at) {
        EXPECT_EQ(save_at(program, at, GetParam(), seed, expected), "") << "seed " << seed;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, EveryBoundary,
                         testing::Values(SaveMode::stop, SaveMode::snapshot, SaveMode::cow),
                         [](const auto& one) { return std::string(name_of(one.param)); });

}  // namespace
}  // namespace phos::test
