// SPDX-License-Identifier: Apache-2.0
// Typed failures of the executor's control side (start, save, load, suspend). They are thrown
// within the executor library and turned into JavaScript errors, code and all, at the addon's
// door. The drain never throws: it answers with CUresults.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "gen/error_codes.h"

namespace phos::executor {

using Code = phos::ErrorCode;

class Failure : public std::exception {
 public:
  using Details = std::vector<std::pair<std::string, std::string>>;

  // `message` says what was being done, to what, and what to do next.
  Failure(Code code, std::string message, Details details = {}, bool retryable = false)
      : code_(code),
        message_(std::move(message)),
        details_(std::move(details)),
        retryable_(retryable) {}

  Code code() const noexcept { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }
  const Details& details() const noexcept { return details_; }
  bool retryable() const noexcept { return retryable_; }

 private:
  Code code_;
  std::string message_;
  Details details_;
  bool retryable_;
};

// STORAGE (or PERMISSION for EACCES, EPERM and EROFS) for an errno of `action` on `path`.
[[noreturn]] void throw_errno(int error, const std::string& action, const std::string& path);
// IMAGE_INVALID naming file and offset.
[[noreturn]] void throw_invalid(const std::string& file, std::uint64_t offset,
                                const std::string& what);

}  // namespace phos::executor
