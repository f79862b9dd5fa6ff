// SPDX-License-Identifier: Apache-2.0
// Bodies of functions: registers, scopes, labels and instructions.
#include <charconv>

#include "../refusal.h"
#include "parser.h"

namespace phos::sim::ptx::text {
namespace {

constexpr std::uint32_t kMaxRegisters = 1U << 20;

Space space_named(std::string_view directive) {
  if (directive == ".global") return Space::global;
  if (directive == ".const") return Space::constant;
  if (directive == ".shared") return Space::shared;
  if (directive == ".local") return Space::local;
  if (directive == ".param") return Space::param;
  return Space::generic;
}

// "%r12" is "%r" and 12; leading zeros belong to the prefix, since "%r01" is another name.
std::pair<std::string_view, std::uint32_t> split_number(std::string_view name) {
  std::size_t digits = name.size();
  while (digits > 1 && name[digits - 1] >= '0' && name[digits - 1] <= '9') {
    --digits;
  }
  while (digits + 1 < name.size() && name[digits] == '0') {
    ++digits;
  }
  std::uint32_t number = kNone;
  std::from_chars(name.data() + digits, name.data() + name.size(), number);
  return {name.substr(0, digits), number};
}

}  // namespace

std::uint32_t Function::find_label(std::string_view label, std::uint32_t scope) const {
  for (; scope != kNone; scope = scopes[scope].parent) {
    const auto found = scopes[scope].labels.find(label);
    if (found != scopes[scope].labels.end()) {
      return found->second;
    }
  }
  return kNone;
}

std::uint32_t Function::find_variable(std::string_view variable, std::uint32_t scope) const {
  for (; scope != kNone; scope = scopes[scope].parent) {
    const auto found = scopes[scope].variables.find(variable);
    if (found != scopes[scope].variables.end()) {
      return found->second;
    }
  }
  return kNone;
}

std::uint32_t Parser::find_register(std::string_view name) const {
  const auto [prefix, number] = split_number(name);
  for (auto scope = register_scopes_.rbegin(); scope != register_scopes_.rend(); ++scope) {
    if (number != kNone) {
      for (const Range& range : scope->ranges) {
        if (number < range.count && prefix == range.prefix) {
          return range.first + number;
        }
      }
    }
    if (!scope->exact.empty()) {
      const auto found = scope->exact.find(name);
      if (found != scope->exact.end()) {
        return found->second;
      }
    }
  }
  return kNone;
}

std::uint32_t Parser::add_register(std::string_view name, Type type) {
  const auto index = static_cast<std::uint32_t>(function_->registers.size());
  if (index >= kMaxRegisters) {
    fail("this function has too many registers");
  }
  function_->registers.push_back({{}, type});
  if (!register_scopes_.back().exact.emplace(name, index).second) {
    fail("register " + std::string(name) + " is declared twice");
  }
  return index;
}

void Parser::parse_registers() {
  Token type_token = lexer_.take();
  if (type_token.text == ".v2" || type_token.text == ".v4") {
    fail("vector registers are not supported; declare scalars and group them in braces");
  }
  const Type type = type_token.kind == TokenKind::directive
                        ? type_named(type_token.text.substr(1)) : Type::none;
  if (type == Type::none) {
    fail("'" + std::string(type_token.text) + "' is not a register type");
  }
  do {
    const Token name = expect_word("a register name");
    if (lexer_.accept('<')) {
      nesting_ = 0;
      const std::int64_t count = parse_unary().value;  // an expression would take the `>`
      expect('>');
      const auto first = static_cast<std::uint32_t>(function_->registers.size());
      if (count < 0 || count + first > kMaxRegisters) {
        fail("this function has too many registers");
      }
      function_->registers.resize(first + static_cast<std::uint32_t>(count),
                                  Register{{}, type});
      register_scopes_.back().ranges.push_back(
          {name.text, first, static_cast<std::uint32_t>(count)});
    } else {
      add_register(name.text, type);
    }
  } while (lexer_.accept(','));
  expect(';');
}

void Parser::open_scope() {
  const auto index = static_cast<std::uint32_t>(function_->scopes.size());
  function_->scopes.push_back({scope_, {}, {}});
  scope_ = index;
  register_scopes_.emplace_back();
}

void Parser::close_scope() {
  scope_ = function_->scopes[scope_].parent;
  register_scopes_.pop_back();
}

void Parser::parse_body() {
  const std::uint32_t outermost = scope_;
  open_scope();
  while (scope_ != outermost) {
    if (lexer_.accept('{')) {
      if (function_->scopes.size() > kMaxRegisters) {
        fail("too many blocks");
      }
      open_scope();
    } else if (lexer_.accept('}')) {
      close_scope();
    } else if (lexer_.peek().kind == TokenKind::end) {
      fail("the text ends inside of function " + std::string(function_->name));
    } else {
      parse_statement();
    }
  }
}

void Parser::parse_statement() {
  const Token& next = lexer_.peek();
  if (next.kind != TokenKind::directive) {
    parse_instruction();
    return;
  }
  if (next.text == ".loc" || next.text == ".file") {
    lexer_.skip_line();
    return;
  }
  Linkage linkage;
  linkage.external = lexer_.accept(".extern");
  const Token directive = lexer_.take();
  if (directive.text == ".reg") {
    parse_registers();
  } else if (directive.text == ".pragma") {
    lexer_.take();
    expect(';');
  } else if (directive.text == ".section") {
    lexer_.take();
    expect('{');
    if (!lexer_.skip_braces()) {
      fail("the text ends inside of a section");
    }
  } else if (space_named(directive.text) != Space::generic) {
    const std::size_t before = function_->variables.size();
    parse_variables(space_named(directive.text), linkage, function_->variables);
    for (std::size_t i = before; i < function_->variables.size(); ++i) {
      function_->variables[i].scope = scope_;
      if (!function_->scopes[scope_]
               .variables.emplace(function_->variables[i].name, static_cast<std::uint32_t>(i))
               .second) {
        fail(std::string(function_->variables[i].name) + " is declared twice");
      }
    }
  } else {
    fail("directive " + std::string(directive.text) + " is not known here");
  }
}

void Parser::parse_prototype(std::string_view name) {
  Prototype prototype;
  prototype.name = name;
  if (lexer_.accept('(')) {
    prototype.returns = parse_parameters();
  }
  expect_word("_");
  if (lexer_.accept('(')) {
    prototype.params = parse_parameters();
  }
  while (lexer_.peek().kind == TokenKind::directive) {  // .noreturn and the like
    lexer_.take();
    if (lexer_.peek().kind == TokenKind::number) {
      lexer_.take();
    }
  }
  expect(';');
  function_->prototypes.push_back(std::move(prototype));
}

void Parser::parse_label(const Token& label) {
  if (lexer_.accept(".branchtargets") || lexer_.accept(".calltargets")) {
    std::vector<std::string_view>& targets = function_->branch_targets[label.text];
    do {
      targets.push_back(expect_word("a target").text);
    } while (lexer_.accept(','));
    expect(';');
    return;
  }
  if (lexer_.accept(".callprototype")) {
    parse_prototype(label.text);
    return;
  }
  const auto index = static_cast<std::uint32_t>(function_->code.size());
  if (!function_->scopes[scope_].labels.emplace(label.text, index).second) {
    fail("label " + std::string(label.text) + " is declared twice");
  }
}

std::uint32_t Parser::form_of(std::string_view opcode) {
  const auto found = module_.form_index.find(opcode);
  if (found != module_.form_index.end()) {
    return found->second;
  }
  Form form;
  form.text = opcode;
  std::size_t dot = opcode.find('.');
  form.base = opcode.substr(0, dot);
  while (dot != std::string_view::npos) {
    const std::size_t next = opcode.find('.', dot + 1);
    form.modifiers.push_back(opcode.substr(dot + 1, next - dot - 1));
    dot = next;
  }
  const auto index = static_cast<std::uint32_t>(module_.forms.size());
  module_.forms.push_back(std::move(form));
  module_.form_index.emplace(opcode, index);
  return index;
}

// call (ret), target, (params), prototype; all but the target may be missing.
void Parser::parse_call_operands(Instruction& instruction) {
  do {
    if (lexer_.accept('(')) {
      function_->operands.push_back(parse_elements(')', OperandKind::list));
    } else {
      function_->operands.push_back(parse_operand());
    }
    ++instruction.operand_count;
  } while (lexer_.accept(','));
}

void Parser::parse_instruction() {
  Instruction instruction;
  instruction.scope = scope_;
  if (lexer_.accept('@')) {
    instruction.guard_negated = lexer_.accept('!');
    const Token name = expect_word("a predicate");
    instruction.guard = find_register(name.text);
    if (instruction.guard == kNone ||
        function_->registers[instruction.guard].type != Type::pred) {
      fail("'" + std::string(name.text) + "' is not a predicate register");
    }
  }
  const Token opcode = expect_word("an instruction");
  if (instruction.guard == kNone && lexer_.accept(':')) {
    parse_label(opcode);
    return;
  }
  instruction.line = opcode.line;
  instruction.form = form_of(opcode.text);
  instruction.first_operand = static_cast<std::uint32_t>(function_->operands.size());
  const std::string_view base = module_.forms[instruction.form].base;
  if (!lexer_.peek().is(';')) {
    if (base == "call") {
      parse_call_operands(instruction);
    } else {
      do {
        Operand operand = parse_operand();
        function_->operands.push_back(std::move(operand));
        ++instruction.operand_count;
      } while (lexer_.accept(','));
    }
  }
  expect(';');
  function_->code.push_back(instruction);
}

}  // namespace phos::sim::ptx::text
