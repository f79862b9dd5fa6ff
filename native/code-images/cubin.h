// SPDX-License-Identifier: Apache-2.0
// Reads what a cubin (an ELF file of machine EM_CUDA) says about its kernels and variables.
// Record numbers of .nv.info are published by several open projects; those used here were checked
// against cubins of nvcc 13.0 for sm_75 to sm_120.
#pragma once

#include "description.h"
#include "result.h"
#include "span_reader.h"

namespace phos::code_images {

// Size of the ELF file at the start of `bytes`, as its headers and section table say.
Result<std::uint64_t> elf_bytes(Bytes bytes);

Result<ModuleDescription> describe_cubin(Bytes bytes);

}  // namespace phos::code_images
