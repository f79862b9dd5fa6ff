// SPDX-License-Identifier: Apache-2.0
#include "lexer.h"

#include <array>

namespace phos::sim::ptx::text {
namespace {

enum Class : std::uint8_t { other = 0, letter = 1, digit = 2, blank = 4, dot = 8 };

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> table{};
  for (unsigned c = 'a'; c <= 'z'; ++c) {
    table[c] = letter;
    table[c - 'a' + 'A'] = letter;
  }
  for (unsigned c = '0'; c <= '9'; ++c) {
    table[c] = digit;
  }
  table['_'] = table['$'] = letter;
  table['.'] = dot;
  table[' '] = table['\t'] = table['\r'] = table['\n'] = table['\v'] = table['\f'] = blank;
  return table;
}

constexpr std::array<std::uint8_t, 256> kClasses = make_classes();

constexpr std::uint8_t class_of(char c) noexcept {
  return kClasses[static_cast<unsigned char>(c)];
}

}  // namespace

void Lexer::skip_blanks() noexcept {
  while (at_ != end_) {
    if (*at_ == '\n') {
      ++line_;
      ++at_;
    } else if (class_of(*at_) == blank || *at_ == '\0') {
      ++at_;
    } else if (*at_ == '/' && end_ - at_ > 1 && at_[1] == '/') {
      while (at_ != end_ && *at_ != '\n') {
        ++at_;
      }
    } else if (*at_ == '/' && end_ - at_ > 1 && at_[1] == '*') {
      at_ += 2;
      while (at_ != end_ && !(*at_ == '*' && end_ - at_ > 1 && at_[1] == '/')) {
        line_ += *at_ == '\n' ? 1 : 0;
        ++at_;
      }
      at_ += at_ == end_ ? 0 : 2;
    } else {
      return;
    }
  }
}

// A dot goes on with the word where a letter or digit follows: `ld.global`, `%tid.x`. So do the
// two colons of `shared::cta`.
void Lexer::scan_word() noexcept {
  ++at_;
  while (at_ != end_) {
    if ((class_of(*at_) & (letter | digit)) != 0) {
      ++at_;
    } else if (*at_ == '.' && end_ - at_ > 1 && (class_of(at_[1]) & (letter | digit)) != 0) {
      at_ += 2;
    } else if (*at_ == ':' && end_ - at_ > 2 && at_[1] == ':' &&
               (class_of(at_[2]) & (letter | digit)) != 0) {
      at_ += 3;
    } else {
      return;
    }
  }
}

void Lexer::scan_number() noexcept {
  const bool hex = *at_ == '0' && end_ - at_ > 1 && (at_[1] == 'x' || at_[1] == 'X' ||
                                                     at_[1] == 'f' || at_[1] == 'F' ||
                                                     at_[1] == 'd' || at_[1] == 'D');
  ++at_;
  while (at_ != end_) {
    const bool exponent_sign = !hex && (*at_ == '+' || *at_ == '-') &&
                               (at_[-1] == 'e' || at_[-1] == 'E');
    if ((class_of(*at_) & (letter | digit)) == 0 && !exponent_sign && (hex || *at_ != '.')) {
      return;
    }
    ++at_;
  }
}

void Lexer::scan_string() noexcept {
  const char* start = ++at_;
  while (at_ != end_ && *at_ != '"') {
    line_ += *at_ == '\n' ? 1 : 0;
    at_ += *at_ == '\\' && end_ - at_ > 1 ? 2 : 1;
  }
  token_.kind = at_ == end_ ? TokenKind::bad : TokenKind::string;
  token_.text = {start, static_cast<std::size_t>(at_ - start)};
  at_ += at_ == end_ ? 0 : 1;
}

void Lexer::advance() noexcept {
  skip_blanks();
  token_.line = line_;
  if (at_ == end_) {
    token_.kind = TokenKind::end;
    token_.text = {};
    return;
  }
  const char* start = at_;
  const std::uint8_t kind = class_of(*at_);
  const bool more = end_ - at_ > 1;
  if (kind == letter || (*at_ == '%' && more && (class_of(at_[1]) & (letter | digit)) != 0)) {
    token_.kind = TokenKind::word;
    scan_word();
  } else if (kind == dot && more && class_of(at_[1]) == letter) {
    token_.kind = TokenKind::directive;
    ++at_;
    while (at_ != end_ && (class_of(*at_) & (letter | digit)) != 0) {
      ++at_;
    }
  } else if (kind == digit) {
    token_.kind = TokenKind::number;
    scan_number();
  } else if (*at_ == '"') {
    scan_string();
    return;
  } else {
    token_.kind = TokenKind::mark;
    ++at_;
  }
  token_.text = {start, static_cast<std::size_t>(at_ - start)};
}

bool Lexer::skip_braces() noexcept {
  int depth = 1;
  while (depth > 0 && token_.kind != TokenKind::end) {
    depth += token_.is('{') ? 1 : token_.is('}') ? -1 : 0;
    advance();
  }
  return depth == 0;
}

void Lexer::skip_line() noexcept {
  const std::uint32_t line = token_.line;
  while (token_.kind != TokenKind::end && token_.line == line) {
    advance();
  }
}

}  // namespace phos::sim::ptx::text
