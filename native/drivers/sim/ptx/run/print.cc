// SPDX-License-Identifier: Apache-2.0
#include "print.h"

#include <bit>
#include <cstdio>
#include <cstring>

namespace phos::sim::ptx {
namespace {

constexpr std::size_t kMaxText = 1U << 16;
constexpr int kMaxWidth = 4096;

// One conversion: %[flags][width][.precision][length]type
struct Conversion {
  std::string flags;
  int width = -1;
  int precision = -1;
  int longs = 0;
  char type = '\0';
};

// Arguments lie one after another, each aligned to its own size.
class Arguments {
 public:
  Arguments(const DeviceReader& reader, std::uint64_t address) : reader_(reader), at_(address) {}
  std::uint64_t next(std::uint32_t bytes) {
    at_ = (at_ + bytes - 1) / bytes * bytes;
    const std::uint64_t value = reader_.value(at_, bytes);
    at_ += bytes;
    ++used_;
    return value;
  }
  int used() const { return used_; }

 private:
  const DeviceReader& reader_;
  std::uint64_t at_;
  int used_ = 0;
};

int read_number(const std::string& text, std::size_t& at, Arguments& arguments) {
  if (at < text.size() && text[at] == '*') {
    ++at;
    return static_cast<int>(static_cast<std::uint32_t>(arguments.next(4)));
  }
  int value = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    value = value < kMaxWidth ? value * 10 + (text[at] - '0') : value;
    ++at;
  }
  return value;
}

Conversion read_conversion(const std::string& text, std::size_t& at, Arguments& arguments) {
  Conversion c;
  while (at < text.size() && std::strchr("-+ #0", text[at]) != nullptr) {
    c.flags += text[at++];
  }
  c.width = read_number(text, at, arguments);
  if (c.width < 0) {
    c.flags += '-';
    c.width = -c.width;
  }
  if (at < text.size() && text[at] == '.') {
    ++at;
    c.precision = read_number(text, at, arguments);
  }
  while (at < text.size() && std::strchr("hlLqjzt", text[at]) != nullptr) {
    c.longs += text[at] == 'h' ? 0 : 1;
    ++at;
  }
  c.type = at < text.size() ? text[at++] : '\0';
  c.width = c.width > kMaxWidth ? kMaxWidth : c.width;
  c.precision = c.precision > kMaxWidth ? kMaxWidth : c.precision;
  return c;
}

template <class T>
std::string formatted(const Conversion& c, const char* length, T value) {
  std::string format = "%" + c.flags;
  if (c.width > 0) {
    format += std::to_string(c.width);
  }
  if (c.precision >= 0) {
    format += "." + std::to_string(c.precision);
  }
  format += length;
  format += c.type;
  char buffer[2 * kMaxWidth];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  const int count = std::snprintf(buffer, sizeof buffer, format.c_str(), value);
#pragma GCC diagnostic pop
  return count < 0 ? std::string{}
                   : std::string(buffer, std::min<std::size_t>(static_cast<std::size_t>(count),
                                                               sizeof buffer - 1));
}

std::string convert(const DeviceReader& reader, const Conversion& c, Arguments& arguments) {
  switch (c.type) {
    case 'd':
    case 'i':
      return c.longs > 0
                 ? formatted(c, "ll", static_cast<long long>(arguments.next(8)))
                 : formatted(c, "", static_cast<int>(static_cast<std::uint32_t>(
                                        arguments.next(4))));
    case 'u':
    case 'o':
    case 'x':
    case 'X':
      return c.longs > 0
                 ? formatted(c, "ll", static_cast<unsigned long long>(arguments.next(8)))
                 : formatted(c, "", static_cast<unsigned>(arguments.next(4)));
    case 'c': return formatted(c, "", static_cast<int>(arguments.next(4) & 0xff));
    case 'p':
      return formatted(c, "", reinterpret_cast<void*>(arguments.next(8)));
    case 's': {
      const std::uint64_t address = arguments.next(8);
      return formatted(c, "", address == 0 ? "(null)" : reader.text(address).c_str());
    }
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
    case 'a':
    case 'A': return formatted(c, "", std::bit_cast<double>(arguments.next(8)));
    case '%': return "%";
    case '\0': return "%";
    default: return std::string("%") + c.type;
  }
}

}  // namespace

std::uint64_t DeviceReader::value(std::uint64_t address, std::uint32_t bytes) const {
  std::uint64_t result = 0;
  std::memcpy(&result, reach(warp, instr, lane, address, bytes, bytes, Access::load), bytes);
  return result;
}

std::string DeviceReader::text(std::uint64_t address) const {
  std::string result;
  while (result.size() < kMaxText) {
    const auto character = static_cast<char>(value(address++, 1));
    if (character == '\0') {
      break;
    }
    result += character;
  }
  return result;
}

std::string format_text(const DeviceReader& reader, std::uint64_t format, std::uint64_t address,
                        int& fields) {
  const std::string text = reader.text(format);
  Arguments arguments(reader, address);
  std::string result;
  for (std::size_t at = 0; at < text.size() && result.size() < kMaxText;) {
    if (text[at] != '%') {
      result += text[at++];
      continue;
    }
    ++at;
    const Conversion c = read_conversion(text, at, arguments);
    result += convert(reader, c, arguments);
  }
  fields = arguments.used();
  return result;
}

}  // namespace phos::sim::ptx
