// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/settings.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace phos::sim {
namespace {

constexpr std::uint32_t kMaxDevices = 16;
constexpr std::uint32_t kMaxThreads = 64;
constexpr std::uint64_t kMinMemory = 16ULL << 20;
constexpr std::uint64_t kMaxMemory = 1ULL << 40;

std::optional<std::uint64_t> parse(std::string_view text, bool with_suffix) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) {
    return std::nullopt;
  }
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (rest.empty()) {
    return value;
  }
  unsigned shift = 0;
  if (with_suffix && (rest == "K" || rest == "k")) {
    shift = 10;
  } else if (with_suffix && (rest == "M" || rest == "m")) {
    shift = 20;
  } else if (with_suffix && (rest == "G" || rest == "g")) {
    shift = 30;
  }
  if (shift == 0 || value > (~0ULL >> shift)) {
    return std::nullopt;
  }
  return value << shift;
}

// Reads NAME into `value` if it is set. False: it is set to something that makes no sense.
bool read(const char* name, bool with_suffix, std::uint64_t low, std::uint64_t high,
          std::optional<std::uint64_t>& value) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') {
    return true;
  }
  value = parse(text, with_suffix);
  if (value && *value >= low && *value <= high) {
    return true;
  }
  std::fprintf(stderr, "phos sim: %s is '%s'; it may be a number from %llu to %llu%s\n", name, text,
               static_cast<unsigned long long>(low), static_cast<unsigned long long>(high),
               with_suffix ? " (suffix K, M or G allowed)" : "");
  return false;
}

}  // namespace

std::optional<Settings> read_settings() {
  Settings settings;
  std::optional<std::uint64_t> devices;
  std::optional<std::uint64_t> memory;
  std::optional<std::uint64_t> threads;
  if (!read("PHOS_SIM_DEVICES", false, 0, kMaxDevices, devices) ||
      !read("PHOS_SIM_MEMORY", true, kMinMemory, kMaxMemory, memory) ||
      !read("PHOS_SIM_THREADS", false, 1, kMaxThreads, threads) ||
      !read("PHOS_SIM_SEED", false, 0, ~0ULL, settings.seed)) {
    return std::nullopt;
  }
  settings.devices = static_cast<std::uint32_t>(devices.value_or(settings.devices));
  settings.threads = static_cast<std::uint32_t>(threads.value_or(settings.threads));
  settings.memory_bytes = memory.value_or(settings.memory_bytes);
  return settings;
}

}  // namespace phos::sim
