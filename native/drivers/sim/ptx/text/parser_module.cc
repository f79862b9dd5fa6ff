// SPDX-License-Identifier: Apache-2.0
// The outer level: functions with their parameters and directives.
#include <bit>
#include <cstring>

#include "../refusal.h"
#include "parser.h"

namespace phos::sim::ptx::text {
namespace {

bool is_space(std::string_view directive) {
  return directive == ".global" || directive == ".const" || directive == ".shared" ||
         directive == ".local" || directive == ".param";
}

}  // namespace

void Parser::fail(const std::string& reason) const { refuse(lexer_.line(), {}, reason); }

Token Parser::expect_word(std::string_view what) {
  if (lexer_.peek().kind != TokenKind::word) {
    fail(std::string(what) + " is expected before '" + std::string(lexer_.peek().text) + "'");
  }
  return lexer_.take();
}

void Parser::expect(char mark) {
  if (!lexer_.accept(mark)) {
    fail(std::string("'") + mark + "' is expected before '" + std::string(lexer_.peek().text) +
         "'");
  }
}

void Parser::declare(Variable variable) {
  const auto known = module_.variable_index.find(variable.name);
  if (known == module_.variable_index.end()) {
    module_.variable_index.emplace(variable.name,
                                   static_cast<std::uint32_t>(module_.variables.size()));
    module_.variables.push_back(std::move(variable));
    return;
  }
  Variable& first = module_.variables[known->second];
  if (!variable.external) {
    if (!first.external) {
      fail(std::string(variable.name) + " is defined twice");
    }
    first = std::move(variable);
  }
}

Variable Parser::parse_parameter() {
  Variable variable;
  const Token space = lexer_.take();
  if (space.text != ".param" && space.text != ".reg") {
    fail("a parameter is expected before '" + std::string(space.text) + "'");
  }
  variable.space = space.text == ".reg" ? Space::reg : Space::param;
  std::uint32_t align = 0;
  std::uint64_t width = 1;
  while (lexer_.peek().kind == TokenKind::directive) {
    const Token directive = lexer_.take();
    if (directive.text == ".align") {
      const std::int64_t value = parse_integer("an alignment");
      if (value <= 0 || !std::has_single_bit(static_cast<std::uint64_t>(value)) ||
          value > 1 << 20) {
        fail("an alignment must be a power of two");
      }
      align = static_cast<std::uint32_t>(value);
    } else if (directive.text == ".ptr") {  // what a pointer points to; nothing depends on it
      while (lexer_.peek().kind == TokenKind::directive) {
        if (lexer_.take().text == ".align") {
          parse_integer("an alignment");
        }
      }
    } else if (vector_width(directive.text) != 0) {
      width = vector_width(directive.text);
    } else {
      variable.type = type_named(directive.text.substr(1));
      if (variable.type == Type::none) {
        fail("'" + std::string(directive.text) + "' is not the type of a parameter");
      }
    }
  }
  const Token name = expect_word("the name of a parameter");
  variable.name = name.text;
  variable.line = name.line;
  std::uint64_t count = width;
  parse_dimensions(variable, count);
  const std::uint64_t unit = variable.type == Type::pred ? 4 : bytes_of(variable.type);
  variable.bytes = count * unit;
  variable.align = align != 0 ? align : static_cast<std::uint32_t>(unit * width);
  if (variable.bytes > 1U << 20 || variable.align == 0) {
    fail("the size of " + std::string(variable.name) + " is out of range");
  }
  return variable;
}

std::vector<Variable> Parser::parse_parameters() {
  std::vector<Variable> parameters;
  if (lexer_.accept(')')) {
    return parameters;
  }
  do {
    parameters.push_back(parse_parameter());
  } while (lexer_.accept(','));
  expect(')');
  return parameters;
}

void Parser::parse_function_directives() {
  while (lexer_.peek().kind == TokenKind::directive) {
    const Token directive = lexer_.take();
    std::uint32_t values[3] = {1, 1, 1};
    std::size_t count = 0;
    while (count < 3 && (lexer_.peek().kind == TokenKind::number || lexer_.peek().is('('))) {
      values[count++] = static_cast<std::uint32_t>(parse_integer("a value"));
      if (!lexer_.accept(',')) {
        break;
      }
    }
    const std::uint64_t product = std::uint64_t{values[0]} * values[1] * values[2];
    if (directive.text == ".maxntid" || directive.text == ".reqntid") {
      function_->max_threads = product > 1024 ? 1024 : static_cast<std::uint32_t>(product);
      if (directive.text == ".reqntid") {
        std::memcpy(function_->required, values, sizeof values);
      }
    } else if (directive.text == ".minnctapersm") {
      function_->min_blocks = values[0];
    } else if (directive.text == ".pragma") {
      while (lexer_.peek().kind == TokenKind::string) {
        lexer_.take();
        lexer_.accept(',');
      }
      expect(';');
    } else if (directive.text == ".attribute") {
      Variable ignored;
      parse_attribute(ignored);
    }
  }
}

void Parser::parse_function(bool entry, const Linkage& linkage) {
  auto parsed = std::make_unique<Function>();
  function_ = parsed.get();
  function_->entry = entry;
  function_->external = linkage.external;
  function_->visible = linkage.visible || entry;
  function_->weak = linkage.weak;
  register_scopes_.clear();
  register_scopes_.emplace_back();
  scope_ = kNone;
  if (lexer_.accept(".attribute")) {
    Variable ignored;
    parse_attribute(ignored);
  }
  if (!entry && lexer_.accept('(')) {
    function_->returns = parse_parameters();
  }
  const Token name = expect_word("the name of a function");
  function_->name = name.text;
  function_->line = name.line;
  if (lexer_.accept('(')) {
    function_->params = parse_parameters();
  }
  for (std::vector<Variable>* list : {&function_->params, &function_->returns}) {
    for (Variable& variable : *list) {
      if (variable.space == Space::reg) {
        variable.reg = add_register(variable.name, variable.type);
      }
    }
  }
  parse_function_directives();
  if (!lexer_.accept(';')) {
    expect('{');
    function_->defined = true;
    parse_body();
  }
  const auto known = module_.function_index.find(function_->name);
  if (known == module_.function_index.end()) {
    module_.function_index.emplace(function_->name,
                                   static_cast<std::uint32_t>(module_.functions.size()));
    module_.functions.push_back(std::move(parsed));
  } else if (function_->defined) {
    if (module_.functions[known->second]->defined) {
      fail("function " + std::string(function_->name) + " is defined twice");
    }
    // The map's key is a view into the text, which outlives both.
    module_.functions[known->second] = std::move(parsed);
  }
  function_ = nullptr;
}

void Parser::parse_top() {
  Linkage linkage;
  for (;;) {
    const Token token = lexer_.take();
    if (token.text == ".extern") {
      linkage.external = true;
    } else if (token.text == ".visible" || token.text == ".common") {
      linkage.visible = true;
    } else if (token.text == ".weak") {
      linkage.visible = linkage.weak = true;
    } else if (token.text == ".entry" || token.text == ".func") {
      parse_function(token.text == ".entry", linkage);
      return;
    } else if (token.kind == TokenKind::directive && is_space(token.text)) {
      std::vector<Variable> variables;
      const bool global = token.text == ".global";
      const Space space = global ? Space::global
                          : token.text == ".const" ? Space::constant
                          : token.text == ".shared" ? Space::shared : Space::local;
      parse_variables(space, linkage, variables);
      for (Variable& variable : variables) {
        declare(std::move(variable));
      }
      return;
    } else if (token.text == ".target" || token.text == ".address_size") {
      module_.target = token.text == ".target" ? lexer_.peek().text : module_.target;
      lexer_.take();
      while (lexer_.accept(',')) {
        lexer_.take();
      }
      return;
    } else if (token.text == ".file") {
      lexer_.skip_line();
      return;
    } else if (token.text == ".section") {
      lexer_.take();
      expect('{');
      if (!lexer_.skip_braces()) {
        fail("the text ends inside of a section");
      }
      return;
    } else if (token.text == ".alias") {
      const Token name = expect_word("a name");
      expect(',');
      module_.aliases.emplace_back(name.text, expect_word("a name").text);
      expect(';');
      return;
    } else if (token.text == ".pragma") {
      lexer_.take();
      expect(';');
      return;
    } else {
      fail("'" + std::string(token.text) + "' is not known at the outer level of a module");
    }
  }
}

Module Parser::run() {
  if (!lexer_.accept(".version")) {
    throw Refusal{{kErrorInvalidImage, 0, {}, "this is not PTX: it does not start with .version"}};
  }
  module_.version = lexer_.take().text;
  while (lexer_.peek().kind != TokenKind::end) {
    if (!lexer_.accept(';')) {
      parse_top();
    }
  }
  return std::move(module_);
}

Module parse(std::string_view ptx) {
  return Parser(ptx).run();
}

}  // namespace phos::sim::ptx::text
