// SPDX-License-Identifier: Apache-2.0
// Calls: direct, through a pointer, and to what the device itself provides.
#include <algorithm>

#include "lowering.h"

namespace phos::sim::ptx {
namespace {

using text::OperandKind;

constexpr std::string_view kExternals[] = {"vprintf", "malloc", "free", "__assertfail"};

struct Call {
  const text::Operand* results = nullptr;
  const text::Operand* target = nullptr;
  const text::Operand* arguments = nullptr;
  const text::Operand* prototype = nullptr;
};

Call take_call(Lowering& l) {
  l.mods.take("uni");
  l.expect_operands(1, 4);
  Call call;
  std::size_t at = 0;
  if (l.operand(0).kind == OperandKind::list) {
    call.results = &l.operand(at++);
  }
  call.target = &l.operand(at++);
  if (l.has_operand(at) && l.operand(at).kind == OperandKind::list) {
    call.arguments = &l.operand(at++);
  }
  if (l.has_operand(at)) {
    call.prototype = &l.operand(at++);
  }
  if (l.has_operand(at)) {
    l.refuse("a call has too many operands");
  }
  return call;
}

ParamPlace place_argument(Lowering& l, const text::Operand& operand, std::uint64_t bytes) {
  if (operand.kind == OperandKind::symbol) {
    const text::Variable* variable = l.find_variable(operand.name);
    if (variable != nullptr && variable->space == Space::param) {
      return l.place_of(*variable);
    }
  }
  const Type own = l.register_type(operand);
  const Type type = own != Type::none ? own : unsigned_of(static_cast<std::uint32_t>(bytes));
  if (own == Type::pred) {
    l.refuse("predicates cannot be passed by register");
  }
  return {l.source(operand, type), bytes_of(type), false};
}

void place_all(Lowering& l, const text::Operand* list, const std::vector<text::Variable>* formal,
               std::vector<ParamPlace>& places, std::string_view what) {
  const std::size_t count = list == nullptr ? 0 : list->elements.size();
  if (formal != nullptr && formal->size() != count) {
    l.refuse("the number of " + std::string(what) + " differs from the declaration");
  }
  for (std::size_t i = 0; i < count; ++i) {
    const text::Operand& operand = list->elements[i];
    places.push_back(operand.kind == OperandKind::sink
                         ? ParamPlace{}
                         : place_argument(l, operand,
                                          formal != nullptr ? (*formal)[i].bytes : 8));
  }
}

void call_external(Lowering& l, const Call& call, std::int64_t which,
                   const text::Function& declared) {
  CallSite site;
  place_all(l, call.arguments, &declared.params, site.arguments, "arguments");
  place_all(l, call.results, &declared.returns, site.results, "results");
  constexpr std::size_t kArguments[] = {2, 1, 1, 5};
  constexpr std::uint32_t kResultBytes[] = {4, 8, 0, 0};
  const auto index = static_cast<std::size_t>(which);
  const bool result_ok = kResultBytes[index] == 0
                             ? site.results.empty()
                             : site.results.size() == 1 &&
                                   site.results[0].bytes == kResultBytes[index];
  if (site.arguments.size() != kArguments[index] || !result_ok) {
    l.refuse("the declaration of " + std::string(kExternals[index]) + " is not the usual one");
  }
  l.mark_observing();
  l.out().calls.push_back(std::move(site));
  Instr& i = l.emit_kind(Kind::external);
  i.target = static_cast<std::uint32_t>(l.out().calls.size() - 1);
  i.imm = which;
}

void call(Lowering& l) {
  const Call call = take_call(l);
  CallSite site;
  const std::vector<text::Variable>* params = nullptr;
  const std::vector<text::Variable>* returns = nullptr;
  if (call.target->kind == OperandKind::reg) {
    site.indirect = true;
    site.pointer = l.source(*call.target, Type::u64);
    for (const text::Prototype& prototype : l.function().prototypes) {
      if (call.prototype != nullptr && prototype.name == call.prototype->name) {
        params = &prototype.params;
        returns = &prototype.returns;
      }
    }
  } else {
    const auto index = l.context().functions.find(call.target->name);
    if (call.target->kind != OperandKind::symbol || index == l.context().functions.end()) {
      l.refuse("function '" + std::string(call.target->name) + "' is not declared");
    }
    const text::Function& callee = *l.context().text.functions[index->second];
    if (!callee.defined) {
      const auto* known = std::find(std::begin(kExternals), std::end(kExternals), callee.name);
      if (known == std::end(kExternals)) {
        l.refuse("function '" + std::string(callee.name) +
                 "' is not defined in this module, and the device does not provide it");
      }
      call_external(l, call, known - std::begin(kExternals), callee);
      return;
    }
    if (callee.entry) {
      l.refuse("a kernel cannot be called");
    }
    site.function = index->second;
    params = &callee.params;
    returns = &callee.returns;
  }
  place_all(l, call.arguments, params, site.arguments, "arguments");
  place_all(l, call.results, returns, site.results, "results");
  l.mark_observing();
  l.out().calls.push_back(std::move(site));
  l.emit_kind(Kind::call).target = static_cast<std::uint32_t>(l.out().calls.size() - 1);
}

}  // namespace

bool lower_call(Lowering& l) {
  if (l.base() != "call") {
    return false;
  }
  call(l);
  return true;
}

}  // namespace phos::sim::ptx
