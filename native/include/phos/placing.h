// SPDX-License-Identifier: Apache-2.0
// Says to the driver's side of an executor that the calling thread is making the driver place
// something which device code sees: modules, functions, variables. A restore repeats exactly these
// calls, in their order (native/executor/placement.h), and nothing else of what the program did.
#pragma once

namespace phos {

inline thread_local int t_placing = 0;

class PlacingScope {
 public:
  PlacingScope() noexcept { ++t_placing; }
  ~PlacingScope() { --t_placing; }
  PlacingScope(const PlacingScope&) = delete;
  PlacingScope& operator=(const PlacingScope&) = delete;
};

}  // namespace phos
