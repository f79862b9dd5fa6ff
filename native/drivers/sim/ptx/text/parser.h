// SPDX-License-Identifier: Apache-2.0
// Recursive-descent parser of PTX text (public PTX ISA document, version 9.0). It checks syntax and
// register names; what instructions mean is checked at lowering.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ast.h"
#include "lexer.h"

namespace phos::sim::ptx::text {

// Throws Refusal.
Module parse(std::string_view ptx);

// 2, 4 or 8 for .v2, .v4 and .v8; 0 for other directives.
std::uint32_t vector_width(std::string_view directive);

class Parser {
 public:
  explicit Parser(std::string_view ptx) : lexer_(ptx) {}
  Module run();

 private:
  struct Range {
    std::string_view prefix;
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };
  struct RegisterScope {
    std::vector<Range> ranges;
    std::unordered_map<std::string_view, std::uint32_t> exact;
  };
  struct Linkage {
    bool external = false;
    bool visible = false;
    bool weak = false;
  };

  // parser_module.cc
  void parse_top();
  void parse_function(bool entry, const Linkage& linkage);
  void parse_function_directives();
  void parse_variables(Space space, const Linkage& linkage, std::vector<Variable>& into);
  void parse_attribute(Variable& variable);
  void parse_dimensions(Variable& variable, std::uint64_t& count);
  void parse_initialiser(Variable& variable, std::uint64_t& count);
  void parse_values(Variable& variable, std::uint64_t& offset);
  void parse_address_value(Variable& variable, std::uint64_t offset);
  std::vector<Variable> parse_parameters();
  Variable parse_parameter();
  void declare(Variable variable);

  // parser_body.cc
  void parse_body();
  void parse_statement();
  void parse_registers();
  void parse_instruction();
  void parse_label(const Token& label);
  void parse_prototype(std::string_view name);
  void parse_call_operands(Instruction& instruction);
  void open_scope();
  void close_scope();
  std::uint32_t form_of(std::string_view opcode);
  std::uint32_t add_register(std::string_view name, Type type);
  std::uint32_t find_register(std::string_view name) const;

  // parser_operand.cc
  Operand parse_operand();
  Operand parse_single();
  Operand parse_word();
  Operand parse_address();
  Operand parse_elements(char close, OperandKind kind);
  Operand parse_constant();
  Operand parse_number();
  std::int64_t parse_integer(std::string_view what);
  Operand parse_expression(int level);
  Operand parse_unary();

  [[noreturn]] void fail(const std::string& reason) const;
  Token expect_word(std::string_view what);
  void expect(char mark);

  Lexer lexer_;
  Module module_;
  Function* function_ = nullptr;
  std::vector<RegisterScope> register_scopes_;
  std::uint32_t scope_ = kNone;
  std::uint32_t depth_ = 0;
  std::uint32_t nesting_ = 0;  // of expressions and vectors, bounded against hostile text
};

}  // namespace phos::sim::ptx::text
