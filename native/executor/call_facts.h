// SPDX-License-Identifier: Apache-2.0
// What the drain asks of every command's call, in one place: the generated tables are searched, and
// once for each command is too often.
#pragma once

#include "executor/command.h"

namespace phos::executor {

struct CallFacts {
  Handler handler = nullptr;  // null: the executor has no such command
  bool may_block = false;
  bool destroys = false;
};

const CallFacts& facts_of(CallId call) noexcept;

}  // namespace phos::executor
