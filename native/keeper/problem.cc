// SPDX-License-Identifier: Apache-2.0
#include "problem.h"

#include <cerrno>
#include <cstdio>

namespace phos::keeper {

std::string_view code_of_errno(int error) noexcept {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return "NOT_FOUND";
    case EACCES:
    case EPERM:
      return "PERMISSION";
    case ENOSPC:
    case EIO:
    case EDQUOT:
    case EROFS:
      return "STORAGE";
    case ENOEXEC:
      return "UNSUPPORTED";
    case EEXIST:
    case EADDRINUSE:
      return "CONFLICT";
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return "UNAVAILABLE";
    default:
      return "INTERNAL";
  }
}

Problem problem_of_errno(std::string_view what, int error) {
  std::string message(what);
  message += ": ";
  message += std::strerror(error);
  return Problem{std::string(code_of_errno(error)), std::move(message)};
}

std::string json_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 8);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out;
}

std::string to_json(const Problem& problem) {
  return "{\"error\":{\"code\":\"" + json_escape(problem.code) + "\",\"message\":\"" +
         json_escape(problem.message) + "\"}}";
}

}  // namespace phos::keeper
