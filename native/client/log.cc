// SPDX-License-Identifier: Apache-2.0
#include "client/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>

namespace phos::client {

namespace {

// One write for each line, so that lines of several processes do not mix. errno is the program's.
void write_line(const char* format, va_list arguments) noexcept {
  const int saved = errno;
  char line[1024] = "phos: ";
  constexpr size_t kPrefix = 6;
  const int length = vsnprintf(line + kPrefix, sizeof(line) - kPrefix - 1, format, arguments);
  if (length > 0) {
    size_t end = kPrefix + static_cast<size_t>(length);
    if (end > sizeof(line) - 2) end = sizeof(line) - 2;
    line[end] = '\n';
    // A program without a stderr has no one to tell.
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, end + 1);
  }
  errno = saved;
}

}  // namespace

bool log_enabled() noexcept {
  static std::atomic<int> enabled{-1};
  int value = enabled.load(std::memory_order_relaxed);
  if (value < 0) {
    const char* setting = getenv("PHOS_LOG");
    value = setting != nullptr && *setting != '\0' && strcmp(setting, "0") != 0 ? 1 : 0;
    enabled.store(value, std::memory_order_relaxed);
  }
  return value != 0;
}

void complain(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_line(format, arguments);
  va_end(arguments);
}

void log(const char* format, ...) noexcept {
  if (!log_enabled()) return;
  va_list arguments;
  va_start(arguments, format);
  write_line(format, arguments);
  va_end(arguments);
}

}  // namespace phos::client
