// SPDX-License-Identifier: Apache-2.0
// Splits PTX text into words, numbers and signs; comments are left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace phos::code_images {

class PtxTokens {
 public:
  explicit PtxTokens(std::string_view text) noexcept : text_(text) { advance(); }

  // The token at hand: a directive with its dot, a name, a number, a quoted string with its quotes
  // or one sign. Empty at the end of the text.
  std::string_view peek() const noexcept { return token_; }
  bool at_end() const noexcept { return token_.empty(); }
  std::string_view take() noexcept;
  // Takes the token if it is `expected`.
  bool accept(std::string_view expected) noexcept;
  // Takes an unsigned integer literal (decimal, 0x, octal, suffix U).
  std::optional<std::uint64_t> take_number() noexcept;
  // The token at hand is '{': skips to behind its '}'. False if there is none.
  bool skip_braces() noexcept;

 private:
  void advance() noexcept;
  void skip_blanks() noexcept;

  std::string_view text_;
  std::size_t at_ = 0;
  std::string_view token_;
};

}  // namespace phos::code_images
