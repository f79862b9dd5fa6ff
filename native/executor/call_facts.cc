// SPDX-License-Identifier: Apache-2.0
#include "executor/call_facts.h"

#include <array>

#include "gen/executor_handlers.h"

namespace phos::executor {

namespace {

constexpr std::size_t kCallIds = 0x800;

std::array<CallFacts, kCallIds> all_facts() noexcept {
  std::array<CallFacts, kCallIds> all{};
  for (std::size_t id = 0; id < all.size(); ++id) {
    const auto call = static_cast<CallId>(id);
    if (!is_call(static_cast<std::uint16_t>(id))) continue;
    all[id] = {handler_for(call), call_class(call) == CallClass::may_block,
               call_semantics(call) == CallSemantics::destroy};
  }
  return all;
}

}  // namespace

const CallFacts& facts_of(CallId call) noexcept {
  static const std::array<CallFacts, kCallIds> table = all_facts();
  const auto index = static_cast<std::size_t>(call);
  return table[index < kCallIds ? index : 0];
}

}  // namespace phos::executor
