// SPDX-License-Identifier: Apache-2.0
// A cubin's section table, symbols and .nv.info records.
#include <vector>

#include "code-images/cubin.h"
#include "code-images/limits.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace phos::code_images;
  const std::vector<std::uint8_t> image(data, data + size);
  const Bytes bytes(image);
  if (auto whole = elf_bytes(bytes); whole.ok()) {
    // What lies in memory may go on beyond what was looked at; it has an end all the same.
    phos::fuzz::require(whole.value() <= kMaxImageBytes, "an ELF file ends");
  }
  if (auto described = describe_cubin(bytes); described.ok()) {
    for (const KernelDescription& kernel : described.value().kernels) {
      phos::fuzz::require(kernel.parameters.size() <= kMaxParameters, "parameters are bounded");
      phos::fuzz::require(kernel.parameter_bytes <= kMaxParameterBytes, "their bytes are bounded");
      for (const ParameterDescription& one : kernel.parameters) {
        phos::fuzz::require(std::uint64_t{one.offset} + one.bytes <= kernel.parameter_bytes,
                            "a parameter lies in the block");
      }
    }
  }
  return 0;
}
