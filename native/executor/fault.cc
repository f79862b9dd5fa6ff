// SPDX-License-Identifier: Apache-2.0
#include "executor/fault.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace phos::executor {

namespace {

struct Rule {
  std::string point;
  unsigned long nth = 1;
  std::string kind = "eio";
  unsigned long passes = 0;
};

struct Rules {
  std::mutex mutex;
  std::vector<Rule> list;
};

// 0: PHOS_FAULT not read yet, 1: no rules, 2: rules.
std::atomic<int> g_state{0};

Rules& rules() {
  // Leaked: fault points are passed at process exit too.
  static auto* const instance = new Rules;
  return *instance;
}

void parse(std::string_view text) {
  Rules& all = rules();
  all.list.clear();
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view entry = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    Rule rule;
    const std::size_t first = entry.find(':');
    rule.point = entry.substr(0, first);
    if (first != std::string_view::npos) {
      const std::string rest(entry.substr(first + 1));
      const std::size_t second = rest.find(':');
      rule.nth = std::strtoul(rest.c_str(), nullptr, 10);
      if (second != std::string::npos) rule.kind = rest.substr(second + 1);
    }
    if (!rule.point.empty()) all.list.push_back(rule);
  }
  g_state.store(all.list.empty() ? 1 : 2, std::memory_order_release);
}

// A test that planted a fault must know that it was reached, even when nobody lives to tell.
void leave_mark(const std::string& point) noexcept {
  const char* path = std::getenv("PHOS_FAULT_MARK");
  if (path == nullptr) return;
  const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const std::string line = point + "\n";
  // A mark that cannot be written is a fault that was not reached: the test fails, as it should.
  if (write(fd, line.data(), line.size()) < 0) errno = 0;
  close(fd);
}

// Stands while the test keeps a file with the point's name in the folder of PHOS_FAULT_HOLD.
int hold_at(const std::string& point) noexcept {
  const char* folder = std::getenv("PHOS_FAULT_HOLD");
  if (folder == nullptr) return EINVAL;
  const std::string path = std::string(folder) + "/" + point;
  for (unsigned waited = 0; waited < kFaultHoldMs; ++waited) {
    if (access(path.c_str(), F_OK) != 0) return 0;
    usleep(1000);
  }
  return ETIMEDOUT;
}

int errno_of(const std::string& kind, const std::string& point) noexcept {
  if (kind == "crash") {
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  if (kind == "delay") {
    usleep(kFaultDelayUs);
    return 0;
  }
  if (kind == "hold") return hold_at(point);
  if (kind == "short") return kShortWrite;
  if (kind == "enospc") return ENOSPC;
  if (kind == "eacces") return EACCES;
  if (kind == "device") return EREMOTEIO;
  return EIO;
}

}  // namespace

int fault_point(const char* name) noexcept {
  const int state = g_state.load(std::memory_order_acquire);
  if (state == 1) return 0;
  Rules& all = rules();
  std::string kind;
  {
    const std::lock_guard lock(all.mutex);
    if (g_state.load(std::memory_order_relaxed) == 0) {
      const char* text = std::getenv("PHOS_FAULT");
      parse(text == nullptr ? std::string_view{} : std::string_view(text));
    }
    // Every rule counts every pass, also the pass at which another one fires.
    for (Rule& rule : all.list) {
      if (rule.point != name) continue;
      ++rule.passes;
      if (rule.nth == 0 || rule.passes == rule.nth) kind = rule.kind;
    }
  }
  if (kind.empty()) return 0;
  leave_mark(name);
  // Not under the lock: other points go on while this one waits.
  return errno_of(kind, name);
}

void set_faults(const char* specification) noexcept {
  const std::lock_guard lock(rules().mutex);
  parse(specification == nullptr ? std::string_view{} : std::string_view(specification));
}

}  // namespace phos::executor
