// SPDX-License-Identifier: Apache-2.0
// Short programs whose memory says whether every command ran once, in order.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim_client.h"

namespace phos::test {

using Step = std::function<void(SimClient&)>;

struct Program {
  std::string name;
  std::vector<Step> setup;
  std::vector<Step> steps;
  bool writes_unseen = false;  // through addresses that lie in device memory
};

// Functions by index, made by every set-up.
enum Function : std::uint32_t { change, through_table, through_list, aim, through_global };

// Sets, copies and kernels on two streams and the legacy one, ordered by events.
Program streams_program();
// Memory that comes and goes, small and large.
Program memory_program();
// Kernels that write through addresses which lie in device memory: a table, a list, a variable.
Program pointers_program();

// All of them.
std::vector<Program> all_programs();

// Runs the steps from `first` up to `end`.
void run_steps(SimClient& client, const Program& program, std::size_t first, std::size_t end);

}  // namespace phos::test
