// SPDX-License-Identifier: Apache-2.0
#include "result.h"

namespace phos::code_images {

const char* describe(ImageError error) noexcept {
  switch (error) {
    case ImageError::none:
      return "no error";
    case ImageError::null_image:
      return "the code image is empty";
    case ImageError::unknown_format:
      return "the code image is not a fatbin, a cubin or PTX text";
    case ImageError::truncated:
      return "the code image is shorter than its headers say";
    case ImageError::unsupported_version:
      return "the code image has an unknown format version";
    case ImageError::too_large:
      return "the code image is larger than phos accepts";
    case ImageError::bad_compression:
      return "compressed code does not decode";
    case ImageError::malformed_elf:
      return "the cubin is malformed";
    case ImageError::malformed_ptx:
      return "the PTX declarations cannot be read";
    case ImageError::no_ptx:
      return "the code image holds no PTX for this device; compile with "
             "-gencode arch=compute_XX,code=compute_XX";
  }
  return "unknown error";
}

}  // namespace phos::code_images
