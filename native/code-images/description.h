// SPDX-License-Identifier: Apache-2.0
// What can be known about a module without loading it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "result.h"
#include "span_reader.h"

namespace phos::code_images {

struct ParameterDescription {
  std::uint32_t offset = 0;  // bytes from the start of the parameter block
  std::uint32_t bytes = 0;
  bool maybe_pointer = true;  // false where the type cannot hold a device address by itself
};

// Numbers that are not known are -1.
struct KernelDescription {
  std::string name;
  std::vector<ParameterDescription> parameters;
  std::uint32_t parameter_bytes = 0;  // end of the last parameter
  std::int32_t registers = -1;
  std::int32_t static_shared_bytes = -1;
  std::int32_t max_threads_per_block = -1;
  std::int32_t local_bytes = -1;
};

enum class VariableSpace : std::uint8_t { global, constant };

struct VariableDescription {
  std::string name;
  std::uint64_t bytes = 0;
  VariableSpace space = VariableSpace::global;
  bool managed = false;
};

struct ModuleDescription {
  std::uint32_t sm = 0;       // for instance 86
  bool from_ptx = false;
  std::vector<KernelDescription> kernels;      // in file order
  std::vector<VariableDescription> variables;  // in file order

  const KernelDescription* kernel(std::string_view name) const noexcept;
  const VariableDescription* variable(std::string_view name) const noexcept;
};

// Which entry of an image a driver would run on a device of this compute capability (86 = 8.6).
// Cubins match within one major number and from their minor number up.
struct Target {
  std::uint32_t sm = 86;
  bool accepts_cubins = false;  // sim runs PTX only
  // The highest PTX at most `sm`; where there is none: the lowest above (sim) or nothing (cuda).
  bool accepts_newer_ptx = true;
};

// PTX text of an image: what sim loads. One text for each part that holds PTX (several with -rdc).
// Errors: no_ptx and whatever the container's readers say.
Result<std::vector<std::string>> select_ptx(const void* image, const Target& target);
Result<std::vector<std::string>> select_ptx_flat(Bytes flat, const Target& target);

// Kernels and variables of an image: from the code that `target` would run where there is any,
// else from any entry that names them. Parameter sizes are the same in all entries of an image,
// offsets are not (an alignas(32) parameter on sm_90), so use the offsets of what is executed.
Result<ModuleDescription> describe_image(const void* image, const Target& target);
Result<ModuleDescription> describe_flat(Bytes flat, const Target& target);

}  // namespace phos::code_images
