// SPDX-License-Identifier: Apache-2.0
// What a keeper is asked to do. phosd writes it to the keeper's standard input as pairs of
// NUL-terminated strings (name, value); a name may come more than once. Environment and arguments
// travel this way, and not as the keeper's own, so that a LD_PRELOAD meant for the program never
// loads anything into the keeper.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "problem.h"

namespace phos::keeper {

struct Spec {
  std::string id;           // job id, for messages
  std::string socket_path;  // keepers/ID.sock
  std::string log_out;      // where output goes when nobody is attached; empty: discarded
  std::string log_err;
  std::string exit_file;  // JSON with the exit status, written when the job ends; may be empty
  bool pty = false;       // a terminal instead of three pipes
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
  std::string cgroup;  // folder of the job's cgroup; empty: stay in the caller's
  std::string cwd = "/";
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  mode_t umask = 022;
  std::vector<std::string> environment;  // NAME=VALUE, of the program or of CRIU
  std::vector<std::string> arguments;    // run: the program; restore: CRIU and its options
  std::uint32_t hold_ms = 0;      // output waits this long for the first attachment
  std::uint32_t linger_ms = 30000;  // an exit status nobody has asked for is kept this long
  std::uint64_t log_limit_bytes = 64U << 20;  // a log is rotated at this size; one old one is kept

  // Restore only.
  std::uint32_t deadline_ms = 120000;  // for CRIU
  std::string pid_file;                // where CRIU writes the root's pid (its view)
  std::string inherit_stdin;           // names in the image: "pipe:[123]", "tty[8803:17]"; or empty
  std::string inherit_stdout;
  std::string inherit_stderr;
  std::string inherit_tty;
  std::string stdin_file;  // bytes that the program had not read yet at the dump
  bool stdin_eof = false;  // its input had ended
  std::string termios;     // hex of the terminal's settings at the dump; empty: defaults
};

/** Parses the pairs. USAGE for an unknown name, a bad number, or a missing value. */
MaybeProblem parse_spec(std::string_view text, Spec& spec);

/** Reads all of `fd` (at most 16 MiB) and parses it. */
MaybeProblem read_spec(int fd, Spec& spec);

}  // namespace phos::keeper
