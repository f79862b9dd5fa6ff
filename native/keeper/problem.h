// SPDX-License-Identifier: Apache-2.0
// How the keeper says that something failed: a code of src/errors, and a sentence with the step and
// the cure.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace phos::keeper {

struct Problem {
  std::string code;  // the project's error codes: NOT_FOUND, PERMISSION, ...
  std::string message;
};
using MaybeProblem = std::optional<Problem>;

/** Code that fits an errno of opening or executing something. */
std::string_view code_of_errno(int error) noexcept;

/** "what: strerror", with the code that fits. */
Problem problem_of_errno(std::string_view what, int error);

/** `text` as the inside of a JSON string. */
std::string json_escape(std::string_view text);

/** One line {"error":{"code":...,"message":...}}. */
std::string to_json(const Problem& problem);

}  // namespace phos::keeper
