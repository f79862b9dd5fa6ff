// SPDX-License-Identifier: Apache-2.0
// Where variables of a function lie, and which registers are only other names for values that
// never change: constants, special registers, kernel parameters, addresses of variables.
#include <algorithm>

#include "../../memory/address_space.h"
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

using text::OperandKind;

// Counts the registers that an operand in the place of a result names.
void count_definitions(const text::Operand& operand, std::vector<std::uint8_t>& counts) {
  if (operand.kind == OperandKind::reg) {
    counts[operand.index] = static_cast<std::uint8_t>(std::min(counts[operand.index] + 1, 2));
  } else if (operand.kind != OperandKind::address) {
    for (const text::Operand& element : operand.elements) {
      count_definitions(element, counts);
    }
  }
}

}  // namespace

// Parameters whose address is taken must lie in memory; others are slots of the frame.
void Lowering::place_parameters() {
  std::unordered_map<std::string_view, bool> taken;
  for (const text::Operand& operand : function_.operands) {
    if (operand.kind == OperandKind::symbol) {
      taken.emplace(operand.name, true);
    }
  }
  std::uint32_t local = 0;
  const auto place = [&](const text::Variable& variable, bool may_be_local) {
    ParamPlace result;
    result.bytes = static_cast<std::uint32_t>(variable.bytes);
    if (variable.space == Space::reg) {
      result.slot = register_slot(variable.reg);
    } else if (may_be_local && taken.contains(variable.name)) {
      const std::uint32_t align = std::max(variable.align, 8U);
      local = (local + align - 1) / align * align;
      result.slot = local;
      result.local = true;
      local += result.bytes;
    } else {
      result.slot = allocate(std::max(result.bytes, 1U));
    }
    param_places_[&variable] = result;
    return result;
  };
  if (!function_.entry) {
    for (const text::Variable& variable : function_.params) {
      out_.param_places.push_back(place(variable, true));
    }
    for (const text::Variable& variable : function_.returns) {
      out_.return_places.push_back(place(variable, true));
    }
  }
  for (const text::Variable& variable : function_.variables) {
    if (variable.space == Space::param) {
      place(variable, false);
    }
  }
  out_.local_bytes = local;
}

ParamPlace Lowering::place_of(const text::Variable& variable) {
  const auto found = param_places_.find(&variable);
  if (found == param_places_.end()) {
    refuse("parameter '" + std::string(variable.name) + "' cannot be used here");
  }
  return found->second;
}

void Lowering::place_locals() {
  std::uint64_t bytes = out_.local_bytes;
  const auto place = [&](const text::Variable& variable) {
    if (variable.space == Space::local) {
      bytes = (bytes + variable.align - 1) / variable.align * variable.align;
      local_offsets_[&variable] = static_cast<std::uint32_t>(bytes);
      bytes += variable.bytes;
      if (bytes > 512U << 10) {
        refuse("function " + std::string(function_.name) + " needs more local memory than a "
               "thread can have");
      }
    }
  };
  std::for_each(function_.variables.begin(), function_.variables.end(), place);
  for (const text::Variable& variable : context_.text.variables) {
    place(variable);
  }
  out_.local_bytes = static_cast<std::uint32_t>((bytes + 15) / 16 * 16);
}

void Lowering::find_aliases() {
  std::vector<std::uint8_t> definitions(function_.registers.size(), 0);
  for (const text::Instruction& in : function_.code) {
    if (in.operand_count > 0) {
      count_definitions(function_.operands[in.first_operand], definitions);
    }
  }
  for (const auto* list : {&function_.params, &function_.returns}) {
    for (const text::Variable& variable : *list) {
      if (variable.reg != text::kNone) {
        definitions[variable.reg] = 2;
      }
    }
  }
  for (std::size_t i = 0; i < function_.code.size(); ++i) {
    const text::Instruction& in = function_.code[i];
    if (in.guard != text::kNone || in.operand_count != 2) {
      continue;
    }
    const text::Operand& result = function_.operands[in.first_operand];
    if (result.kind != OperandKind::reg || definitions[result.index] != 1 ||
        slots_[result.index] != kNoSlot || register_type(result) == Type::pred) {
      continue;
    }
    in_ = &in;
    std::uint32_t slot = kNoSlot;
    if (alias_of(in, result.index, slot)) {
      slots_[result.index] = slot;
      aliased_[i] = true;
      invariant_[result.index] = true;
    }
    in_ = nullptr;
  }
}

bool Lowering::alias_of(const text::Instruction& in, std::uint32_t reg, std::uint32_t& slot) {
  const text::Form& form = context_.text.forms[in.form];
  Modifiers m(form);
  if (form.base == "ld") {
    return alias_parameter(in, reg, m, slot);
  }
  const text::Operand& from = function_.operands[in.first_operand + 1];
  const Type own = function_.registers[reg].type;
  if (form.base == "mov") {
    const Type type = m.take_type();
    if (!m.left_over().empty() || bytes_of(type) != bytes_of(own)) {
      return false;
    }
    const bool constant = is_immediate(from) || from.kind == OperandKind::symbol;
    const bool counter = from.name.starts_with("%clock") || from.name.starts_with("%globaltimer");
    if (!constant && (from.kind != OperandKind::special || counter)) {
      return false;
    }
    slot = source(from, type);
    return true;
  }
  if (form.base == "cvta") {
    const bool to = m.take("to");
    const bool global = m.take("global") || m.take("const");
    const Type type = m.take_type();
    if (!global || !m.left_over().empty() || bytes_of(type) != 8 || bytes_of(own) != 8) {
      return false;
    }
    (void)to;  // global and constant addresses are generic as they are
    if (from.kind != OperandKind::reg || bytes_of(register_type(from)) != 8) {
      return false;
    }
    if (!invariant_[from.index]) {
      return false;
    }
    slot = slots_[from.index];
    return true;
  }
  return false;
}

// ld.param of a kernel at a fixed offset: the value is put into the frame when it is set up.
bool Lowering::alias_parameter(const text::Instruction& in, std::uint32_t reg, Modifiers& m,
                               std::uint32_t& slot) {
  const bool param = m.take("param") || m.take("param::entry");
  m.take_hints();
  const Type type = m.take_type();
  const text::Operand& from = function_.operands[in.first_operand + 1];
  const text::Variable* variable = find_parameter(from);
  const Type own = function_.registers[reg].type;
  if (!param || !m.left_over().empty() || variable == nullptr ||
      !is_kernel_parameter(*variable) || bytes_of(type) == 0 ||
      bytes_of(type) > bytes_of(own) || bytes_of(own) > 8) {
    return false;
  }
  if (from.value < 0 ||
      static_cast<std::uint64_t>(from.value) + bytes_of(type) > variable->bytes) {
    return false;
  }
  slot = allocate(bytes_of(own));
  out_.parameters.push_back({slot, kernel_parameter_offset(*variable) +
                                       static_cast<std::uint32_t>(from.value),
                             static_cast<std::uint8_t>(bytes_of(type)),
                             static_cast<std::uint8_t>(bytes_of(own)), is_signed(type)});
  return true;
}

}  // namespace phos::sim::ptx
