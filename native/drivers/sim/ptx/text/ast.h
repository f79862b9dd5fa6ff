// SPDX-License-Identifier: Apache-2.0
// What the parser makes of PTX text. Names are resolved; views point into the text, which must
// outlive this.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "../types.h"

namespace phos::sim::ptx::text {

inline constexpr std::uint32_t kNone = 0xffffffffU;

// An opcode with all its modifiers; instructions with the same text share one.
struct Form {
  std::string_view text;                    // "ld.global.v4.f32"
  std::string_view base;                    // "ld"
  std::vector<std::string_view> modifiers;  // "global", "v4", "f32"
};

enum class OperandKind : std::uint8_t {
  none,
  reg,       // index: register of the function
  special,   // name: "%tid.x"
  integer,   // value
  floating,  // value: bits of a double; single: written as 0f, value holds 32 bits
  symbol,    // name; variable or function, resolved at lowering; value: byte offset
  address,   // in brackets: first element is the base (reg, symbol or integer), value: offset
  vector,    // in braces: elements
  list,      // in parentheses: elements
  sink,      // _
  pair,      // d|p: elements
};

struct Operand {
  OperandKind kind = OperandKind::none;
  bool negated = false;      // !p, or a minus before a register
  bool single = false;
  std::uint32_t index = kNone;
  std::int64_t value = 0;
  std::string_view name;
  std::vector<Operand> elements;
};

struct Instruction {
  std::uint32_t line = 0;
  std::uint32_t form = 0;         // index in Module::forms
  std::uint32_t guard = kNone;    // predicate register
  bool guard_negated = false;
  std::uint32_t scope = 0;        // for labels and symbols
  std::uint32_t first_operand = 0;
  std::uint32_t operand_count = 0;
};

struct Register {
  std::string name;
  Type type = Type::none;
};

struct Relocation {
  std::uint64_t offset = 0;
  std::uint8_t bytes = 8;
  std::uint8_t shift = 0;
  bool generic = false;
  std::string_view symbol;
  std::int64_t addend = 0;
};

struct Variable {
  std::string_view name;
  Space space = Space::global;
  Type type = Type::none;
  std::uint64_t bytes = 0;
  std::uint32_t align = 1;
  bool external = false;   // .extern
  bool visible = false;    // .visible, .weak or .common
  bool unsized = false;    // declared with []
  bool managed = false;
  std::uint32_t reg = kNone;  // parameter of a device function that is a register
  std::uint32_t scope = 0;
  std::vector<std::byte> initial;
  std::vector<Relocation> relocations;
  std::uint32_t line = 0;
};

struct Prototype {
  std::string_view name;
  std::vector<Variable> returns;
  std::vector<Variable> params;
};

struct Scope {
  std::uint32_t parent = kNone;
  std::unordered_map<std::string_view, std::uint32_t> labels;     // to instruction index
  std::unordered_map<std::string_view, std::uint32_t> variables;  // to Function::variables
};

struct Function {
  std::string_view name;
  bool entry = false;
  bool defined = false;
  bool external = false;
  bool visible = false;
  bool weak = false;
  std::uint32_t line = 0;
  std::vector<Variable> params;
  std::vector<Variable> returns;
  std::vector<Variable> variables;  // declared in the body
  std::vector<Register> registers;
  std::vector<Instruction> code;
  std::vector<Operand> operands;
  std::vector<Scope> scopes;
  std::unordered_map<std::string_view, std::vector<std::string_view>> branch_targets;
  std::vector<Prototype> prototypes;
  std::uint32_t max_threads = 0;
  std::uint32_t required[3] = {0, 0, 0};
  std::uint32_t min_blocks = 0;

  // Index of the instruction that a label in this or an enclosing scope stands before.
  std::uint32_t find_label(std::string_view label, std::uint32_t scope) const;
  std::uint32_t find_variable(std::string_view variable, std::uint32_t scope) const;
};

struct Module {
  std::string_view version;
  std::string_view target;
  std::vector<Form> forms;
  std::unordered_map<std::string_view, std::uint32_t> form_index;
  std::vector<Variable> variables;
  std::vector<std::unique_ptr<Function>> functions;
  std::unordered_map<std::string_view, std::uint32_t> variable_index;
  std::unordered_map<std::string_view, std::uint32_t> function_index;
  std::vector<std::pair<std::string_view, std::string_view>> aliases;
};

}  // namespace phos::sim::ptx::text
