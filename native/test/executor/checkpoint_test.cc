// SPDX-License-Identifier: Apache-2.0
// Programs that are stopped at every command, saved in every mode while they run on, and brought
// back: both must end as the program that nobody disturbed, byte for byte, whatever order sim's
// scheduler chooses.
#include <gtest/gtest.h>

#include <tuple>

#include "saving.h"

namespace phos::test {
namespace {

using executor::SaveMode;

using Case = std::tuple<SaveMode, Program>;

class EveryBoundary : public testing::TestWithParam<Case> {};

// Seeds take turns along the program: 0 is sim's fast setting.
TEST_P(EveryBoundary, ComesBackTheSame) {
  const auto& [mode, program] = GetParam();
  const std::string expected = undisturbed(program, 0);
  for (std::size_t at = 0; at <= program.steps.size(); ++at) {
    const std::uint64_t seed = at % 3;
    EXPECT_EQ(save_at(program, at, mode, seed, expected), "") << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Programs, EveryBoundary,
    testing::Combine(testing::Values(SaveMode::stop, SaveMode::snapshot, SaveMode::cow),
                     testing::ValuesIn(all_programs())),
    [](const auto& one) {
      return std::string(executor::name_of(std::get<0>(one.param))) + "_" +
             std::get<1>(one.param).name;
    });

}  // namespace
}  // namespace phos::test
