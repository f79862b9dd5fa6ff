// SPDX-License-Identifier: Apache-2.0
#include "addon/process.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "addon/convert.h"
#include "executor/failure.h"

namespace phos::addon {

namespace {

using executor::Code;
using executor::Failure;

[[noreturn]] void no_such_process(std::int64_t pid) {
  throw Failure(Code::not_found, "There is no process " + std::to_string(pid) + ".",
                {{"pid", std::to_string(pid)}});
}

Napi::Value peer_credentials(const Napi::CallbackInfo& info) {
  const std::int64_t fd = integer_at(info, 0, 0, INT_MAX);
  return guarded(info.Env(), [&] {
    return to_js(info.Env(), executor::peer_of(static_cast<int>(fd)));
  });
}

Napi::Value pidfd_open(const Napi::CallbackInfo& info) {
  const std::int64_t pid = integer_at(info, 0, 1, INT_MAX);
  return guarded(info.Env(), [&]() -> Napi::Value {
    const long fd = ::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0);
    if (fd < 0 && errno == ESRCH) no_such_process(pid);
    if (fd < 0) {
      throw Failure(Code::unavailable, std::string("Opening a pidfd failed: ") +
                                           std::strerror(errno) + "; Linux 5.3 is needed.");
    }
    return Napi::Number::New(info.Env(), static_cast<double>(fd));
  });
}

// Field 22 of /proc/PID/stat (proc(5)); the name in field 2 may hold anything, so count from its
// closing parenthesis.
std::uint64_t start_time_of(std::int64_t pid) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%lld/stat", static_cast<long long>(pid));
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) no_such_process(pid);
  char text[1024];
  const std::size_t length = std::fread(text, 1, sizeof(text) - 1, file);
  std::fclose(file);
  text[length] = '\0';
  const char* at = std::strrchr(text, ')');
  if (at == nullptr) no_such_process(pid);
  for (int field = 2; field < 22 && at != nullptr; ++field) at = std::strchr(at + 1, ' ');
  if (at == nullptr) no_such_process(pid);
  return std::strtoull(at + 1, nullptr, 10);
}

Napi::Value process_start_time(const Napi::CallbackInfo& info) {
  const std::int64_t pid = integer_at(info, 0, 1, INT_MAX);
  return guarded(info.Env(), [&] { return big(info.Env(), start_time_of(pid)); });
}

[[noreturn]] void refused(const char* step) {
  throw Failure(Code::permission,
                std::string("Becoming the client's user: ") + step + " failed: " +
                    std::strerror(errno) + ". Run phosd as root or as that user.");
}

void become(uid_t uid, gid_t gid) {
  uid_t uids[3];
  gid_t gids[3];
  if (::geteuid() == 0) {
    // glibc changes every thread of the process (setxid(2) alone would change only one).
    if (::setgroups(0, nullptr) != 0) refused("setgroups");
    if (::setresgid(gid, gid, gid) != 0) refused("setresgid");
    if (::setresuid(uid, uid, uid) != 0) refused("setresuid");
  }
  if (::getresuid(&uids[0], &uids[1], &uids[2]) != 0 ||
      ::getresgid(&gids[0], &gids[1], &gids[2]) != 0) {
    refused("asking for the result");
  }
  for (int i = 0; i < 3; ++i) {
    errno = EPERM;
    if (uids[i] != uid || gids[i] != gid) refused("the check of uid and gid");
  }
  if (uid == 0) return;
  // Capabilities went with uid 0; nothing may bring them back, by exec either.
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) refused("no_new_privs");
  errno = EPERM;
  if (::setuid(0) == 0) refused("the check that root is gone");
}

Napi::Value set_credentials(const Napi::CallbackInfo& info) {
  const std::int64_t uid = integer_at(info, 0, 0, UINT_MAX - 1);
  const std::int64_t gid = integer_at(info, 1, 0, UINT_MAX - 1);
  return guarded(info.Env(), [&]() -> Napi::Value {
    become(static_cast<uid_t>(uid), static_cast<gid_t>(gid));
    return info.Env().Undefined();
  });
}

}  // namespace

void export_process(Napi::Env env, Napi::Object exports) {
  exports.Set("peerCredentials", Napi::Function::New(env, peer_credentials, "peerCredentials"));
  exports.Set("pidfdOpen", Napi::Function::New(env, pidfd_open, "pidfdOpen"));
  exports.Set("processStartTime", Napi::Function::New(env, process_start_time, "processStartTime"));
  exports.Set("setCredentials", Napi::Function::New(env, set_credentials, "setCredentials"));
}

}  // namespace phos::addon
