// SPDX-License-Identifier: Apache-2.0
// Saving a program while it runs on, and bringing it back.
#pragma once

#include <string>

#include "programs.h"

namespace phos::test {

class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

executor::SaveOptions options_of(executor::SaveMode mode, const std::string& directory);

// How the program ends when nobody disturbs it.
std::string undisturbed(const Program& program);

// Saves the program before step `at`, lets it go on meanwhile, and brings it back in another
// executor: both must end as `expected`. Throws Wrong.
executor::SaveReport save_at(const Program& program, std::size_t at, executor::SaveMode mode,
                             const std::string& expected);

}  // namespace phos::test
