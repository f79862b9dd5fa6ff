// SPDX-License-Identifier: Apache-2.0
// Saving a program while it runs on, and bringing it back.
#pragma once

#include <functional>
#include <memory>
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

// How the program ends when nobody disturbs it. In a child process with that seed.
std::string undisturbed(const Program& program, std::uint64_t seed);

// What the saving process leaves for the restoring one: the ring and the places at the cut, in
// files beside the image. A restore needs a process of its own: sim places variables once only.
void keep_cut(const SimClient& client, const Folder& folder);
void keep_cut(const std::vector<std::uint8_t>& ring, const std::vector<Place>& places,
              const Folder& folder);
std::unique_ptr<SimClient> bring_back(const Folder& folder);
std::string image_in(const Folder& folder);

// Saves the program before step `at` in one process, where it goes on meanwhile, and brings it back
// in another: both must end as `expected`. Returns what went wrong, empty when nothing did.
// `look` sees the report. The calling process must not have started the driver.
using Look = std::function<void(const executor::SaveReport& report)>;
std::string save_at(const Program& program, std::size_t at, executor::SaveMode mode,
                    std::uint64_t seed, const std::string& expected, const Look& look = {});

}  // namespace phos::test
