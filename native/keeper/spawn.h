// SPDX-License-Identifier: Apache-2.0
// Starting the job: the program itself, or CRIU that brings it back from an image.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "spec.h"
#include "stdio_ends.h"

namespace phos::keeper {

struct Started {
  pid_t pid = -1;                // root of the job's tree, a child of this process
  std::uint64_t start_time = 0;  // clock ticks since boot, with the pid it names the process
};

/** Starts the program in its own session, in the job's cgroup, as the job's user. Fails with the
 *  errno of the step that failed; nothing is left running then. */
MaybeProblem start_program(const Spec& spec, const StdioEnds& stdio, Started& started);

/** Runs `criu restore` with the new ends handed over, waits for it at most spec.deadline_ms, and
 *  finds the root of the restored tree, by then a child of this process. On failure nothing that
 *  CRIU had brought back is left. */
MaybeProblem restore_program(const Spec& spec, const StdioEnds& stdio, Started& started);

/** Kills and reaps every child, at most for a second: what a failed restore leaves behind. */
void end_all_children();

/** Field 22 of /proc/PID/stat, 0 when there is no such process. */
std::uint64_t process_start_time(pid_t pid);

}  // namespace phos::keeper
