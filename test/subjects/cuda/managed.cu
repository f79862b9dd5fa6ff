// SPDX-License-Identifier: Apache-2.0
// __managed__ variables: on the device itself. Under phos they are refused by name.
#include "judge.h"

namespace {

__managed__ int managed_word = 3;
__global__ void bump_managed() { managed_word += 10; }

}  // namespace

TEST(managed_variable) {
  const int before = managed_word;
  bump_managed<<<1, 1>>>();
  OK(cudaDeviceSynchronize());
  CHECK(managed_word == before + 10);
  managed_word = 1;
  bump_managed<<<1, 1>>>();
  OK(cudaDeviceSynchronize());
  CHECK(managed_word == 11);
}
