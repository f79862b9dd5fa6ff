// SPDX-License-Identifier: Apache-2.0
#include "ptx_tokens.h"

#include <charconv>

namespace phos::code_images {
namespace {

bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v' || c == '\0';
}

bool is_word(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || c == '%';
}

}  // namespace

void PtxTokens::skip_blanks() noexcept {
  while (at_ < text_.size()) {
    if (is_blank(text_[at_])) {
      ++at_;
    } else if (text_.compare(at_, 2, "//") == 0) {
      const std::size_t end = text_.find('\n', at_);
      at_ = end == std::string_view::npos ? text_.size() : end + 1;
    } else if (text_.compare(at_, 2, "/*") == 0) {
      const std::size_t end = text_.find("*/", at_ + 2);
      at_ = end == std::string_view::npos ? text_.size() : end + 2;
    } else {
      return;
    }
  }
}

void PtxTokens::advance() noexcept {
  skip_blanks();
  const std::size_t start = at_;
  if (at_ == text_.size()) {
    token_ = {};
    return;
  }
  const char first = text_[at_++];
  if (first == '"') {
    while (at_ < text_.size() && text_[at_] != '"') {
      at_ += text_[at_] == '\\' && at_ + 1 < text_.size() ? 2 : 1;
    }
    at_ = at_ < text_.size() ? at_ + 1 : at_;
  } else if (is_word(first) || (first == '.' && at_ < text_.size() && is_word(text_[at_]))) {
    while (at_ < text_.size() && is_word(text_[at_])) {
      ++at_;
    }
  }
  token_ = text_.substr(start, at_ - start);
}

std::string_view PtxTokens::take() noexcept {
  const std::string_view token = token_;
  advance();
  return token;
}

bool PtxTokens::accept(std::string_view expected) noexcept {
  if (token_ != expected) {
    return false;
  }
  advance();
  return true;
}

std::optional<std::uint64_t> PtxTokens::take_number() noexcept {
  std::string_view digits = token_;
  if (!digits.empty() && digits.back() == 'U') {
    digits.remove_suffix(1);
  }
  int base = 10;
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    digits.remove_prefix(2);
    base = 16;
  } else if (digits.size() > 1 && digits.front() == '0') {
    base = 8;
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value,
                                            base);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  advance();
  return value;
}

bool PtxTokens::skip_braces() noexcept {
  std::size_t depth = 0;
  do {
    const std::string_view token = take();
    if (token.empty()) {
      return false;
    }
    if (token == "{") {
      ++depth;
    } else if (token == "}") {
      --depth;
    }
  } while (depth != 0);
  return true;
}

}  // namespace phos::code_images
