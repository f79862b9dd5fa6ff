// SPDX-License-Identifier: Apache-2.0
// A gpu-K folder of an image that somebody else has made. What only a checksum would refuse is
// given a right one, so that the readers behind it are reached.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "executor/failure.h"
#include "executor/image.h"
#include "target.h"

namespace {

using namespace phos;
using namespace phos::executor;

constexpr struct {
  const char* name;
  const char* magic;
} kFiles[] = {{"objects", kObjectsMagic},
              {"blobs", kBlobsMagic},
              {"chunks", kChunksMagic},
              {"data-0", kDataMagic}};

void write_file(const std::string& path, std::span<const std::uint8_t> bytes) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  fuzz::require(fd >= 0, "a file");
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t wrote = ::write(fd, bytes.data() + at, bytes.size() - at);
    fuzz::require(wrote > 0, "room for a file");
    at += static_cast<std::size_t>(wrote);
  }
  ::close(fd);
}

// The header as a writer would have made it; `lane`, `count` and `flags` stay as they are.
void mend(std::vector<std::uint8_t>& bytes, const char* magic) {
  if (bytes.size() < sizeof(FileHeader)) return;
  FileHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  std::memcpy(header.magic, magic, sizeof(header.magic));
  header.version = kImageVersion;
  header.bytes = bytes.size();
  std::memset(header.image_id, 3, sizeof(header.image_id));
  header.checksum = {};
  if (magic != kDataMagic) {
    header.checksum =
        digest_of(bytes.data() + sizeof(header), bytes.size() - sizeof(header));
  }
  std::memcpy(bytes.data(), &header, sizeof(header));
}

}  // namespace

// Four times: u8 choices (1: as it is), u16 bytes, the file; the data file is padded to pages.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string folder = [] {
    const std::string made = "/dev/shm/phos-fuzz-" + std::to_string(::getpid());
    std::filesystem::create_directory(made);
    std::atexit([] {
      std::filesystem::remove_all("/dev/shm/phos-fuzz-" + std::to_string(::getpid()));
    });
    return made;
  }();
  fuzz::Input input(data, size);
  for (const auto& [name, magic] : kFiles) {
    const auto choices = input.get<std::uint8_t>();
    const auto body = input.bytes(input.get<std::uint16_t>());
    std::vector<std::uint8_t> bytes(body.begin(), body.end());
    if (magic == kDataMagic) {
      // A whole page of header, then what the input has; most of it is zeros in a real one.
      bytes.resize(bytes.empty() ? 0 : padded(bytes.size()));
    }
    if ((choices & 1U) == 0) mend(bytes, magic);
    write_file(folder + "/" + name, bytes);
  }
  try {
    ReadOptions options;
    options.content = true;
    const VerifyResult found = verify_image(folder, options, {});
    fuzz::require(found.version == kImageVersion, "an image that is whole is of this version");
  } catch (const Failure& failure) {
    fuzz::require(failure.what()[0] != 0, "a refusal says why");
  }
  return 0;
}
