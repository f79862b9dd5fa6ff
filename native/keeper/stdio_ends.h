// SPDX-License-Identifier: Apache-2.0
// The job's standard input, output and error: three pipes or one terminal, made by the keeper and
// held for the life of the job. The program gets one side, the keeper keeps the other.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "spec.h"
#include "unique_fd.h"

namespace phos::keeper {

class StdioEnds {
 public:
  /** Makes the ends that `spec` asks for. They belong to spec.uid, which can so reopen
   *  /dev/stdout. */
  MaybeProblem open(const Spec& spec);

  /** Closes what only the program needs. The slave of a terminal stays open: without it the master
   *  would report a hang-up whenever the program has closed its own, and output would be cut. */
  void close_program_side();

  [[nodiscard]] bool is_pty() const noexcept { return master_.valid(); }
  // Program's side; all three are the slave of a terminal.
  [[nodiscard]] int program_in() const noexcept;
  [[nodiscard]] int program_out() const noexcept;
  [[nodiscard]] int program_err() const noexcept;
  // Keeper's side, non-blocking; -1 when there is none (error of a terminal, ended input).
  [[nodiscard]] int input() const noexcept { return is_pty() ? master_.get() : in_write_.get(); }
  [[nodiscard]] int output() const noexcept {
    return is_pty() && !hung_up_ ? master_.get() : out_read_.get();
  }
  [[nodiscard]] int error() const noexcept { return err_read_.get(); }

  void close_input();
  void close_output() {
    out_read_.reset();
    hung_up_ = true;
  }
  void close_error() { err_read_.reset(); }

  void set_window_size(std::uint16_t rows, std::uint16_t columns);
  [[nodiscard]] std::string termios_hex() const;
  /** What the program has not read yet; it stays where it is. A program with a terminal must not be
   *  running: what was typed ahead is taken out and put back, unfinished line included. */
  [[nodiscard]] std::string peek_input() const;
  /** Puts input into the terminal as it was typed once: not echoed, edited or acted upon again. */
  void put_typed(std::string_view bytes) const;

  /** {"kind":"pipes","stdin":"pipe:[n]",...} or {"kind":"pty","tty":"tty[rdev:dev]",...}: the
   *  names that CRIU knows the program's side by. */
  [[nodiscard]] const std::string& description() const noexcept { return description_; }

 private:
  MaybeProblem open_pipes(const Spec& spec);
  MaybeProblem open_pty(const Spec& spec);
  [[nodiscard]] std::string take_typed() const;

  UniqueFd in_read_, in_write_, in_peek_, out_read_, out_write_, err_read_, err_write_;
  UniqueFd master_, slave_;
  bool hung_up_ = false;  // the terminal's session is gone: its master has nothing more to say
  std::string description_;
};

}  // namespace phos::keeper
