// SPDX-License-Identifier: Apache-2.0
#include "executor/failure.h"

#include <cerrno>
#include <cstring>

namespace phos::executor {

namespace {

const char* cure_of(int error) noexcept {
  switch (error) {
    case ENOSPC:
    case EDQUOT: return "free space there or choose another folder";
    case EIO: return "the disk reports errors; choose another one";
    case EACCES:
    case EPERM: return "give this user access or choose another folder";
    case EROFS: return "the file system is read-only; choose another folder";
    case ENOENT: return "create it first";
    default: return "check the folder and try again";
  }
}

}  // namespace

void throw_errno(int error, const std::string& action, const std::string& path) {
  const bool denied = error == EACCES || error == EPERM || error == EROFS;
  const Code code = denied ? Code::permission : Code::storage;
  throw Failure(code,
                action + " " + path + " failed: " + std::strerror(error) + "; " + cure_of(error) +
                    ".",
                {{"path", path}, {"errno", std::to_string(error)}}, error == EINTR);
}

void throw_invalid(const std::string& file, std::uint64_t offset, const std::string& what) {
  throw Failure(Code::image_invalid,
                "The image is not usable: " + file + " at offset " + std::to_string(offset) +
                    ": " + what + ". Use another image.",
                {{"file", file}, {"offset", std::to_string(offset)}});
}

}  // namespace phos::executor
