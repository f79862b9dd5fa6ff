// SPDX-License-Identifier: Apache-2.0
// Cuts PTX text into tokens, one at a time, without copying. Opcodes with all their modifiers and
// special registers with their component are one token each, as are the `::` of sub-qualifiers.
#pragma once

#include <cstdint>
#include <string_view>

namespace phos::sim::ptx::text {

enum class TokenKind : std::uint8_t {
  end,
  word,       // identifier, opcode, register
  directive,  // starts with a dot
  number,
  string,     // without its quotes
  mark,       // one character
  bad,
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::uint32_t line = 0;
  std::string_view text;

  bool is(char mark) const noexcept { return kind == TokenKind::mark && text[0] == mark; }
  bool is(std::string_view word) const noexcept {
    return text == word && (kind == TokenKind::word || kind == TokenKind::directive);
  }
};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {
    advance();
  }

  const Token& peek() const noexcept { return token_; }
  Token take() noexcept {
    const Token token = token_;
    advance();
    return token;
  }
  bool accept(char mark) noexcept {
    if (!token_.is(mark)) {
      return false;
    }
    advance();
    return true;
  }
  bool accept(std::string_view word) noexcept {
    if (!token_.is(word)) {
      return false;
    }
    advance();
    return true;
  }
  // Whether the text goes on with these marks, side by side, from the current token on.
  bool ahead(std::string_view marks) const noexcept {
    return token_.kind == TokenKind::mark &&
           std::string_view(token_.text.data(), static_cast<std::size_t>(
                                                    end_ - token_.text.data()))
               .starts_with(marks);
  }
  std::uint32_t line() const noexcept { return token_.line; }
  // Passes over everything up to and with the closing brace; the opening one has been taken.
  bool skip_braces() noexcept;
  // Passes over the rest of the current line.
  void skip_line() noexcept;

 private:
  void advance() noexcept;
  void skip_blanks() noexcept;
  void scan_word() noexcept;
  void scan_number() noexcept;
  void scan_string() noexcept;

  const char* at_;
  const char* end_;
  std::uint32_t line_ = 1;
  Token token_;
};

}  // namespace phos::sim::ptx::text
