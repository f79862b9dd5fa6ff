// SPDX-License-Identifier: Apache-2.0
#include "client/images.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "client/call.h"
#include "client/log.h"
#include "client/staging.h"
#include "code-images/image.h"

namespace phos::client {

namespace {

constinit std::atomic<std::uint64_t> g_next_image{1};

// Writes bytes [offset, offset + size) of the flat form into a slot, without a copy of the whole.
class FlatReader {
 public:
  explicit FlatReader(const code_images::ImageExtent& extent) : parts_(extent.parts) {}
  std::uint64_t read(std::uint8_t* to, std::uint64_t capacity) {
    std::uint64_t done = 0;
    while (done < capacity && part_ < parts_.size()) {
      const auto& bytes = parts_[part_];
      const bool last = part_ + 1 == parts_.size();
      const std::uint64_t padded =
          last ? bytes.size()
               : (bytes.size() + code_images::kFlatAlign - 1) & ~(code_images::kFlatAlign - 1);
      const std::uint64_t piece = std::min(padded - at_, capacity - done);
      const std::uint64_t real = at_ < bytes.size() ? std::min(piece, bytes.size() - at_) : 0;
      memcpy(to + done, bytes.data() + at_, real);
      memset(to + done + real, 0, piece - real);
      at_ += piece;
      done += piece;
      if (at_ == padded) {
        at_ = 0;
        ++part_;
      }
    }
    return done;
  }

 private:
  const std::vector<code_images::Bytes>& parts_;
  std::size_t part_ = 0;
  std::uint64_t at_ = 0;
};

CUresult send_pieces(const code_images::ImageExtent& extent, std::uint64_t image,
                     std::uint64_t total) noexcept {
  FlatReader reader(extent);
  for (std::uint64_t done = 0; done < total;) {
    StagingSlot slot{};
    if (const CUresult status = take_slot(&slot); status != CUDA_SUCCESS) return status;
    codec::Req_phos_image_piece request{};
    request.image = image;
    request.total_bytes = total;
    request.offset = done;
    request.address = slot.address();
    request.bytes = reader.read(slot.data, kStagingSlotBytes);
    request.release = 1;
    if (const CUresult status = tell(request); status != CUDA_SUCCESS) {
      give_slot(slot);
      return status;
    }
    done += request.bytes;
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult send_image(const void* pointer, std::uint64_t* image) noexcept {
  if (pointer == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const auto extent = code_images::image_extent(pointer);
  if (!extent.ok()) {
    log("a code image cannot be read: %s", code_images::describe(extent.error()));
    return CUDA_ERROR_INVALID_IMAGE;
  }
  *image = g_next_image.fetch_add(1);
  const std::uint64_t total = code_images::flat_bytes(extent.value());
  if (total > kInlineBlobMax) return send_pieces(extent.value(), *image, total);
  std::uint8_t flat[kInlineBlobMax];
  FlatReader(extent.value()).read(flat, total);
  codec::Req_phos_image_inline request{};
  request.image = *image;
  const Blob data[] = {{flat, total}};
  return tell(request, data);
}

CUresult read_image_file(const char* path, void** data) noexcept {
  if (path == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return CUDA_ERROR_FILE_NOT_FOUND;
  struct stat facts{};
  CUresult status = CUDA_ERROR_FILE_NOT_FOUND;
  if (fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode)) {
    const auto size = static_cast<std::size_t>(facts.st_size);
    auto* bytes = static_cast<char*>(malloc(size + 1));
    status = bytes == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
    std::size_t done = 0;
    while (status == CUDA_SUCCESS && done < size) {
      const ssize_t length = read(fd, bytes + done, size - done);
      if (length < 0 && errno == EINTR) continue;
      if (length <= 0) status = CUDA_ERROR_FILE_NOT_FOUND;
      if (length > 0) done += static_cast<std::size_t>(length);
    }
    if (status == CUDA_SUCCESS) {
      bytes[size] = '\0';
      *data = bytes;
    } else {
      free(bytes);
    }
  }
  close(fd);
  return status;
}

}  // namespace phos::client
