// SPDX-License-Identifier: Apache-2.0
// A code image that a program gave to the driver, as it arrives at the executor: fatbins with their
// entries, compressed or not, a cubin, or PTX text.
#include <vector>

#include "code-images/description.h"
#include "code-images/fatbin.h"
#include "code-images/image.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace phos::code_images;
  // In memory of exactly its size, so that a reader that looks further is found.
  const std::vector<std::uint8_t> image(data, data + size);
  const Bytes bytes(image);
  if (auto extent = split_image(bytes); extent.ok()) {
    std::uint64_t sum = 0;
    for (const Bytes& part : extent.value().parts) {
      phos::fuzz::require(part.data() >= bytes.data() &&
                              part.data() + part.size() <= bytes.data() + bytes.size(),
                          "a part lies in the image");
      sum += part.size();
    }
    phos::fuzz::require(sum <= bytes.size(), "parts are no more than the image");
  }
  if (auto entries = fatbin_entries(bytes); entries.ok()) {
    for (const FatbinEntry& entry : entries.value()) {
      // What a few bytes may claim to unpack to is bounded by limits.h, and is too slow here.
      if (entry.plain_bytes > (4U << 20)) continue;
      if (auto plain = plain_payload(entry); plain.ok()) {
        phos::fuzz::require(plain.value().size() == entry.plain_bytes, "it unpacks to its size");
      }
    }
  }
  for (const bool cubins : {false, true}) {
    const Target target{86, cubins, true};
    (void)select_ptx_flat(bytes, target);
    (void)describe_flat(bytes, target);
  }
  (void)LoadableImage::from_flat(bytes);
  return 0;
}
