// SPDX-License-Identifier: Apache-2.0
// Operands as slots of the frame: registers, immediates, special registers, symbols, addresses.
#include <bit>

#include "../../memory/address_space.h"
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

using text::OperandKind;

struct SpecialName {
  std::string_view name;
  Special special;
};
constexpr SpecialName kSpecials[] = {
    {"%tid.x", Special::tid_x}, {"%tid.y", Special::tid_y}, {"%tid.z", Special::tid_z},
    {"%ntid.x", Special::ntid_x}, {"%ntid.y", Special::ntid_y}, {"%ntid.z", Special::ntid_z},
    {"%ctaid.x", Special::ctaid_x}, {"%ctaid.y", Special::ctaid_y},
    {"%ctaid.z", Special::ctaid_z}, {"%nctaid.x", Special::nctaid_x},
    {"%nctaid.y", Special::nctaid_y}, {"%nctaid.z", Special::nctaid_z},
    {"%laneid", Special::laneid}, {"%warpid", Special::warpid}, {"%nwarpid", Special::nwarpid},
    {"%smid", Special::smid}, {"%nsmid", Special::nsmid}, {"%gridid", Special::gridid},
    {"%lanemask_eq", Special::lanemask_eq}, {"%lanemask_le", Special::lanemask_le},
    {"%lanemask_lt", Special::lanemask_lt}, {"%lanemask_ge", Special::lanemask_ge},
    {"%lanemask_gt", Special::lanemask_gt},
    {"%dynamic_smem_size", Special::dynamic_smem_size},
    {"%total_smem_size", Special::total_smem_size}, {"%aggr_smem_size", Special::aggr_smem_size},
    {"%envreg1", Special::envreg_high}, {"%envreg2", Special::envreg_low},
    // Every block is a cluster of its own.
    {"%clusterid.x", Special::ctaid_x}, {"%clusterid.y", Special::ctaid_y},
    {"%clusterid.z", Special::ctaid_z}, {"%nclusterid.x", Special::nctaid_x},
    {"%nclusterid.y", Special::nctaid_y}, {"%nclusterid.z", Special::nctaid_z},
    {"%cluster_ctaid.x", Special::zero}, {"%cluster_ctaid.y", Special::zero},
    {"%cluster_ctaid.z", Special::zero}, {"%cluster_nctaid.x", Special::one},
    {"%cluster_nctaid.y", Special::one}, {"%cluster_nctaid.z", Special::one},
    {"%cluster_ctarank", Special::zero}, {"%cluster_nctarank", Special::one},
    {"%tid.w", Special::zero}, {"%ntid.w", Special::one}, {"%ctaid.w", Special::zero},
    {"%nctaid.w", Special::one},
};

bool counter_of(std::string_view name, Key& key, std::uint32_t& shift) {
  shift = 0;
  if (name == "%clock") key = {.op = Op::clock, .type = Type::u32};
  else if (name == "%clock_hi") key = {.op = Op::clock_hi, .type = Type::u32};
  else if (name == "%clock64") key = {.op = Op::clock, .type = Type::u64};
  else if (name == "%globaltimer") key = {.op = Op::globaltimer, .type = Type::u64};
  else if (name == "%globaltimer_lo") key = {.op = Op::timer32, .type = Type::u32};
  else if (name == "%globaltimer_hi") { key = {.op = Op::timer32, .type = Type::u32}; shift = 32; }
  else return false;
  return true;
}

}  // namespace

bool Lowering::is_immediate(const text::Operand& operand) const {
  return operand.kind == OperandKind::integer || operand.kind == OperandKind::floating;
}

std::uint64_t Lowering::immediate(const text::Operand& operand, Type type) const {
  const auto bits = static_cast<std::uint64_t>(operand.value);
  if (operand.kind == OperandKind::integer) {
    if (type == Type::f64) {
      return std::bit_cast<std::uint64_t>(static_cast<double>(operand.value));
    }
    if (type == Type::f32) {
      return std::bit_cast<std::uint32_t>(static_cast<float>(operand.value));
    }
    return bits;
  }
  const bool wide = bytes_of(type) == 8;
  if (operand.single) {
    return wide ? std::bit_cast<std::uint64_t>(
                      double{std::bit_cast<float>(static_cast<std::uint32_t>(bits))})
                : bits;
  }
  if (wide) {
    return bits;
  }
  if (bytes_of(type) != 4) {
    refuse("a floating-point constant does not fit here");
  }
  return std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
}

Type Lowering::register_type(const text::Operand& operand) const {
  return operand.kind == OperandKind::reg ? function_.registers[operand.index].type : Type::none;
}

std::uint32_t Lowering::special_slot(std::string_view name, Type type) {
  const auto known = specials_.find({name, bytes_of(type)});
  if (known != specials_.end()) {
    return known->second;
  }
  Special special = Special::zero;
  bool found = name.starts_with("%envreg") || name.starts_with("%pm") ||
               name.starts_with("%reserved_smem") || name == "%is_explicit_cluster" ||
               name == "%current_graph_exec";
  for (const SpecialName& entry : kSpecials) {
    if (entry.name == name) {
      special = entry.special;
      found = true;
    }
  }
  if (!found) {
    refuse("'" + std::string(name) + "' is neither a register of this function nor a special one");
  }
  if (special == Special::envreg_high || special == Special::envreg_low) {
    out_.uses_grid_sync = true;
  }
  const std::uint32_t slot = allocate(bytes_of(type));
  out_.specials.push_back({slot, special, static_cast<std::uint8_t>(bytes_of(type))});
  specials_.emplace(std::pair{name, bytes_of(type)}, slot);
  return slot;
}

std::uint32_t Lowering::address_slot(AddressSlot::Of of, std::uint32_t bytes, std::uint32_t index,
                                     std::int64_t addend) {
  const std::uint64_t what = (std::uint64_t{static_cast<std::uint8_t>(of)} << 40) |
                             (std::uint64_t{bytes} << 32) | index;
  const auto [place, fresh] =
      addresses_.try_emplace({what, static_cast<std::uint64_t>(addend)}, 0);
  if (fresh) {
    place->second = allocate(bytes);
    out_.addresses.push_back({place->second, of, static_cast<std::uint8_t>(bytes), index, addend});
  }
  return place->second;
}

const text::Variable* Lowering::find_variable(std::string_view name, Space* space) const {
  const std::uint32_t own = function_.find_variable(name, in_ != nullptr ? in_->scope : 0);
  const text::Variable* found = own != text::kNone ? &function_.variables[own] : nullptr;
  for (const auto* list : {&function_.params, &function_.returns}) {
    for (const text::Variable& variable : *list) {
      if (found == nullptr && variable.name == name) {
        found = &variable;
      }
    }
  }
  if (found == nullptr) {
    const auto known = context_.text.variable_index.find(name);
    if (known != context_.text.variable_index.end()) {
      found = &context_.text.variables[known->second];
    }
  }
  if (found != nullptr && space != nullptr) {
    *space = found->space;
  }
  return found;
}

bool Lowering::is_kernel_parameter(const text::Variable& variable) const {
  return function_.entry && &variable >= function_.params.data() &&
         &variable < function_.params.data() + function_.params.size();
}

std::uint32_t Lowering::kernel_parameter_offset(const text::Variable& variable) const {
  std::uint64_t offset = 0;
  for (const text::Variable& parameter : function_.params) {
    offset = (offset + parameter.align - 1) / parameter.align * parameter.align;
    if (&parameter == &variable) {
      break;
    }
    offset += parameter.bytes;
  }
  return static_cast<std::uint32_t>(offset);
}

// A slot that holds the address of a symbol in its own state space (shared: an offset).
std::uint32_t Lowering::symbol_slot(const text::Operand& operand, Type type) {
  const std::uint32_t bytes = bytes_of(type);
  if (bytes != 4 && bytes != 8) {
    refuse("an address does not fit into this operand");
  }
  const text::Variable* variable = find_variable(operand.name);
  if (variable == nullptr) {
    const auto function = context_.functions.find(operand.name);
    if (function == context_.functions.end()) {
      refuse("symbol '" + std::string(operand.name) + "' is not declared");
    }
    return address_slot(AddressSlot::Of::function, bytes, function->second, operand.value);
  }
  switch (variable->space) {
    case Space::shared: {
      const auto place = shared_offsets_.find(variable);
      if (place != shared_offsets_.end()) {
        return constant(unsigned_of(bytes), place->second + static_cast<std::uint64_t>(
                                                                operand.value));
      }
      if (function_.entry) {  // what has no size lies behind all that has one
        const std::uint32_t align = variable->align < 16 ? 16 : variable->align;
        const std::uint64_t at = (std::uint64_t{static_shared_} + align - 1) / align * align;
        return constant(unsigned_of(bytes), at + static_cast<std::uint64_t>(operand.value));
      }
      return address_slot(AddressSlot::Of::dynamic_shared, bytes, variable->align, operand.value);
    }
    case Space::local:
      return address_slot(AddressSlot::Of::local, bytes, 0,
                          std::int64_t{local_offsets_.at(variable)} + operand.value);
    case Space::param:
      if (is_kernel_parameter(*variable)) {
        return constant(unsigned_of(bytes), kernel_parameter_offset(*variable) +
                                                static_cast<std::uint64_t>(operand.value));
      }
      return address_slot(AddressSlot::Of::local, bytes, 0,
                          std::int64_t{place_of(*variable).slot} + operand.value);
    default: {
      const auto index = context_.variables.find(variable->name);
      if (index == context_.variables.end()) {
        refuse("symbol '" + std::string(operand.name) + "' has no address here");
      }
      return address_slot(AddressSlot::Of::variable, bytes, index->second, operand.value);
    }
  }
}

std::uint32_t Lowering::source(const text::Operand& operand, Type type) {
  const std::uint32_t bytes = bytes_of(type);
  switch (operand.kind) {
    case OperandKind::reg: {
      const Type own = function_.registers[operand.index].type;
      if (operand.negated) {
        refuse("a minus is not allowed before this register");
      }
      if (bytes_of(own) != bytes || own == Type::pred) {
        refuse("operand " + std::string(operand.name) + " is a ." + std::string(name_of(own)) +
               " register, one of " + std::to_string(bytes * 8) + " bits is expected");
      }
      return register_slot(operand.index);
    }
    case OperandKind::integer:
    case OperandKind::floating: return constant(type, immediate(operand, type));
    case OperandKind::special: {
      Key key;
      std::uint32_t shift = 0;
      if (!counter_of(operand.name, key, shift)) {
        return special_slot(operand.name, type);
      }
      observing_ = true;
      const std::uint32_t own = bytes_of(key.type);
      const std::uint32_t slot = temporary(own);
      Instr& read = emit(key);
      read.d = slot;
      read.imm = shift;
      if (own == bytes) {
        return slot;
      }
      const std::uint32_t resized = temporary(bytes);
      Instr& resize = emit({.op = Op::narrow, .type = unsigned_of(bytes),
                            .from = unsigned_of(own)});
      resize.d = resized;
      resize.a = slot;
      return resized;
    }
    case OperandKind::symbol: return symbol_slot(operand, type);
    default: refuse("an operand is of a kind that is not allowed here");
  }
}

std::uint32_t Lowering::target(const text::Operand& operand, Type type) {
  if (operand.kind == OperandKind::sink) {
    return kNoSlot;
  }
  if (operand.kind != OperandKind::reg) {
    refuse("the result must go to a register");
  }
  return source(operand, type);
}

std::uint32_t Lowering::predicate_source(const text::Operand& operand, bool& negated) {
  negated = operand.negated;
  if (operand.kind == OperandKind::integer) {
    negated = operand.value == 0;  // never written, so it reads as 0; negated: as 1
    negated = !negated;
    static constexpr std::string_view kZero = "%zero predicate";
    const auto [place, fresh] = specials_.try_emplace({kZero, 0}, 0);
    if (fresh) {
      place->second = allocate_predicate();
    }
    return place->second;
  }
  if (register_type(operand) != Type::pred) {
    refuse("a predicate is expected instead of '" + std::string(operand.name) + "'");
  }
  return register_slot(operand.index);
}

std::uint32_t Lowering::predicate_target(const text::Operand& operand) {
  if (operand.kind == OperandKind::sink) {
    return kNoSlot;
  }
  if (register_type(operand) != Type::pred || operand.negated) {
    refuse("a predicate is expected instead of '" + std::string(operand.name) + "'");
  }
  return register_slot(operand.index);
}

const text::Variable* Lowering::find_parameter(const text::Operand& operand) const {
  if (operand.kind != OperandKind::address ||
      operand.elements.front().kind != OperandKind::symbol) {
    return nullptr;
  }
  const text::Variable* variable = find_variable(operand.elements.front().name);
  return variable != nullptr && variable->space == Space::param ? variable : nullptr;
}

Lowering::Address Lowering::address(const text::Operand& operand, Space space) {
  if (operand.kind != OperandKind::address) {
    refuse("an address in brackets is expected");
  }
  const text::Operand& base = operand.elements.front();
  Address result;
  result.offset = operand.value;
  if (base.kind == OperandKind::reg) {
    const std::uint32_t bytes = bytes_of(register_type(base));
    if (bytes != 4 && bytes != 8) {
      refuse("an address register must have 32 or 64 bits");
    }
    result.wide = bytes == 8;
    result.slot = register_slot(base.index);
    const bool needs_wide = space == Space::generic || space == Space::global ||
                            space == Space::constant;
    if (needs_wide && !result.wide) {
      const std::uint32_t slot = temporary(8);
      Instr& widen = emit({.op = Op::narrow, .type = Type::u64, .from = Type::u32});
      widen.d = slot;
      widen.a = result.slot;
      result.slot = slot;
      result.wide = true;
    }
    return result;
  }
  result.wide = space != Space::shared && space != Space::local;
  const Type type = result.wide ? Type::u64 : Type::u32;
  if (base.kind == OperandKind::integer) {
    result.slot = constant(type, 0);
    return result;
  }
  if (base.kind != OperandKind::symbol) {
    refuse("the base of an address must be a register, a symbol or a number");
  }
  const text::Variable* variable = find_variable(base.name);
  if (variable != nullptr && variable->space == Space::param) {
    result.parameter = variable;
    return result;
  }
  if (variable != nullptr && space == Space::generic &&
      (variable->space == Space::shared || variable->space == Space::local)) {
    result.slot = symbol_slot(base, Type::u64);
    const std::uint32_t slot = temporary(8);
    Instr& convert = emit({.op = Op::cvta_to, .type = Type::u64, .from = Type::u64});
    convert.d = slot;
    convert.a = result.slot;
    convert.imm = static_cast<std::int64_t>(variable->space == Space::shared ? kSharedWindow
                                                                             : kLocalWindow);
    result.slot = slot;
    return result;
  }
  if (variable != nullptr && space != Space::generic && variable->space != space) {
    refuse("'" + std::string(base.name) + "' is not in the state space that the opcode names");
  }
  result.slot = symbol_slot(base, type);
  return result;
}

std::uint32_t Lowering::label(const text::Operand& operand) const {
  if (operand.kind != OperandKind::symbol) {
    refuse("a label is expected");
  }
  const std::uint32_t index = function_.find_label(operand.name, in_->scope);
  if (index == text::kNone) {
    refuse("label '" + std::string(operand.name) + "' is not defined");
  }
  return index;
}

}  // namespace phos::sim::ptx
