// SPDX-License-Identifier: Apache-2.0
// What an executor finds in the place of the driver, where that is none.
#include "drivers/cuda/driver.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

namespace phos::cuda {
namespace {

LoadOutcome load(const char* library) {
  setenv("PHOS_CUDA_LIBRARY", library, 1);
  DriverTable table{};
  return fill_driver_table(table);
}

// An executor that took the client library for the driver would call itself.
TEST(CudaDriver, RefusesTheStandInOfPhos) {
  const LoadOutcome outcome = load(PHOS_TEST_STAND_IN);
  EXPECT_FALSE(outcome.ok);
  EXPECT_NE(std::string::npos, outcome.message.find("is the stand-in of phos")) << outcome.message;
  EXPECT_NE(std::string::npos, outcome.message.find("PHOS_CUDA_LIBRARY")) << outcome.message;
}

TEST(CudaDriver, SaysWhatIsMissingAndTheCure) {
  const LoadOutcome outcome = load("/nonexistent/libcuda.so.1");
  EXPECT_FALSE(outcome.ok);
  EXPECT_NE(std::string::npos, outcome.message.find("/nonexistent/libcuda.so.1"));
  EXPECT_NE(std::string::npos, outcome.message.find("--driver sim")) << outcome.message;
}

}  // namespace
}  // namespace phos::cuda
