// SPDX-License-Identifier: Apache-2.0
// Turns the parsed body of one function into code. Every operand is checked here, and every
// modifier must be understood by someone: what is left over refuses the module.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../handlers/key.h"
#include "../program.h"
#include "../text/ast.h"

namespace phos::sim::ptx {

// The modifiers of an opcode, each to be taken by its meaning.
class Modifiers {
 public:
  explicit Modifiers(const text::Form& form) : form_(&form) {}

  bool take(std::string_view name);
  // The index of the one that is there, or -1.
  int take_one_of(std::initializer_list<std::string_view> names);
  Type take_type();  // the next type in order; none if there is none
  Rounding take_rounding();
  // Takes what says nothing that matters here: scopes, cache hints, eviction priorities.
  void take_hints();
  // The first modifier that nobody took; empty if all were.
  std::string_view left_over() const;

 private:
  const text::Form* form_;
  std::uint64_t taken_ = 0;
};

// What is known of the module while its functions are lowered.
struct ModuleContext {
  Program& program;
  const text::Module& text;
  // Module variables and functions by name; shared variables by offset.
  std::unordered_map<std::string_view, std::uint32_t> variables;
  std::unordered_map<std::string_view, std::uint32_t> functions;
};

class Lowering {
 public:
  using Topic = bool (*)(Lowering&);

  Lowering(ModuleContext& context, const text::Function& function, CodeFunction& out,
           std::unordered_map<const text::Variable*, std::uint32_t> shared_offsets,
           std::uint32_t static_shared);
  void run();

  // The instruction at hand.
  Modifiers mods;
  std::string_view base() const { return form().base; }
  const text::Form& form() const { return context_.text.forms[in_->form]; }
  std::size_t operand_count() const { return in_->operand_count; }
  const text::Operand& operand(std::size_t index) const;
  bool has_operand(std::size_t index) const { return index < in_->operand_count; }
  const text::Function& function() const { return function_; }
  ModuleContext& context() { return context_; }
  std::uint32_t scope() const { return in_->scope; }
  [[noreturn]] void refuse(const std::string& reason) const;
  void expect_operands(std::size_t least, std::size_t most) const;

  // Slots. A register's size must be that of the type, unless wider ones are let pass.
  std::uint32_t source(const text::Operand& operand, Type type);
  std::uint32_t source(std::size_t index, Type type) { return source(operand(index), type); }
  std::uint32_t target(const text::Operand& operand, Type type);
  std::uint32_t target(std::size_t index, Type type) { return target(operand(index), type); }
  std::uint32_t predicate_source(const text::Operand& operand, bool& negated);
  std::uint32_t predicate_target(const text::Operand& operand);
  std::uint32_t constant(Type type, std::uint64_t bits);
  std::uint32_t temporary(std::uint32_t bytes);
  std::uint32_t register_slot(std::uint32_t reg);
  Type register_type(const text::Operand& operand) const;
  std::uint32_t extra(std::span<const std::uint32_t> slots);
  // The value of an immediate as the bits of this type.
  std::uint64_t immediate(const text::Operand& operand, Type type) const;
  bool is_immediate(const text::Operand& operand) const;

  // Base and offset of an address. For symbols the base is a slot that holds their address.
  struct Address {
    std::uint32_t slot = kNoSlot;
    bool wide = true;
    std::int64_t offset = 0;
    // Of a parameter or of a .param variable of this function: no slot, but its place.
    const text::Variable* parameter = nullptr;
  };
  Address address(const text::Operand& operand, Space space);
  std::uint32_t symbol_slot(const text::Operand& operand, Type type);
  ParamPlace place_of(const text::Variable& variable);
  const text::Variable* find_parameter(const text::Operand& operand) const;
  const text::Variable* find_variable(std::string_view name, Space* space = nullptr) const;
  bool is_kernel_parameter(const text::Variable& variable) const;
  std::uint32_t kernel_parameter_offset(const text::Variable& variable) const;
  std::uint32_t label(const text::Operand& operand) const;

  // Adds the instruction with this handler; the guard, the line and the cache are filled in.
  Instr& emit(const Key& key);
  Instr& emit_kind(Kind kind);
  Instr& emit_unguarded(const Key& key);
  // For what has no condition on being there: null handlers refuse the module.
  Handler handler(const Key& key) const;
  CodeFunction& out() { return out_; }
  void mark_observing() { observing_ = true; }

 private:
  void find_aliases();
  bool alias_of(const text::Instruction& in, std::uint32_t reg, std::uint32_t& slot);
  bool alias_parameter(const text::Instruction& in, std::uint32_t reg, Modifiers& m,
                       std::uint32_t& slot);
  std::uint32_t allocate(std::uint32_t bytes, std::uint32_t lanes = kLanes);
  std::uint32_t allocate_predicate();
  std::uint32_t special_slot(std::string_view name, Type type);
  void place_locals();
  void place_parameters();
  void lower_one(std::size_t index);
  void patch_branches();
  void mark_straight_runs();
  void estimate_registers();
  std::uint32_t address_slot(AddressSlot::Of of, std::uint32_t bytes, std::uint32_t index,
                             std::int64_t addend);

  ModuleContext& context_;
  const text::Function& function_;
  CodeFunction& out_;
  const text::Instruction* in_ = nullptr;
  std::unordered_map<const text::Variable*, std::uint32_t> shared_offsets_;
  std::unordered_map<const text::Variable*, std::uint32_t> local_offsets_;
  std::unordered_map<const text::Variable*, ParamPlace> param_places_;
  std::uint32_t static_shared_ = 0;
  std::uint32_t frame_bytes_ = 0;
  std::uint32_t predicate_next_ = 0;
  std::uint32_t predicate_end_ = 0;
  std::uint32_t next_temporary_ = 0;
  std::vector<std::uint32_t> slots_;      // of registers
  std::vector<bool> aliased_;             // instructions that alias and are not emitted
  std::vector<bool> invariant_;           // registers that are other names for such slots
  std::vector<std::uint32_t> start_;      // of parsed instructions in the code
  std::vector<std::uint32_t> branches_;   // code indices whose target is a parsed index
  std::vector<std::pair<std::uint32_t, std::uint32_t>> temporaries_;  // bytes, slot
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint32_t> constants_;
  std::map<std::pair<std::string_view, std::uint32_t>, std::uint32_t> specials_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> addresses_;
  std::vector<bool> observes_;
  bool observing_ = false;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> image_writes_;  // slot, constant bits
};

// Topics: each lowers the opcodes it knows and answers false for others.
bool lower_integer(Lowering& l);
bool lower_bits(Lowering& l);
bool lower_float(Lowering& l);
bool lower_compare(Lowering& l);
bool lower_move(Lowering& l);
bool lower_convert(Lowering& l);
bool lower_memory(Lowering& l);
bool lower_atomic(Lowering& l);
bool lower_async(Lowering& l);
bool lower_warp(Lowering& l);
bool lower_control(Lowering& l);
bool lower_call(Lowering& l);
bool lower_special(Lowering& l);
bool lower_matrix(Lowering& l);

// Parses, lays out and lowers a module. Throws Refusal.
std::unique_ptr<Program> build_program(std::span<const std::string_view> texts);

}  // namespace phos::sim::ptx
