// SPDX-License-Identifier: Apache-2.0
// Reads the declarations of PTX text: entries with their parameters and variables of the module.
// Bodies are skipped, so this costs little more than reading the text once. The syntax follows the
// public PTX ISA document (directives .entry, .func, .global, .const, .shared, .param).
#pragma once

#include <string_view>

#include "description.h"
#include "result.h"

namespace phos::code_images {

// True if the text starts, after blanks and comments, with the directive that opens every PTX.
bool looks_like_ptx(std::string_view text) noexcept;

Result<ModuleDescription> describe_ptx(std::string_view text);

}  // namespace phos::code_images
