// SPDX-License-Identifier: Apache-2.0
// Variables: their types, sizes and initial values.
#include <bit>
#include <cstring>

#include "parser.h"

namespace phos::sim::ptx::text {
namespace {

constexpr std::uint64_t kMaxVariableBytes = std::uint64_t{1} << 40;
constexpr std::uint64_t kMaxInitialBytes = std::uint64_t{1} << 30;

void store(Variable& variable, std::uint64_t offset, std::uint64_t value, std::uint32_t bytes) {
  if (variable.initial.size() < offset + bytes) {
    variable.initial.resize(offset + bytes);
  }
  std::memcpy(variable.initial.data() + offset, &value, bytes);  // little-endian host
}

}  // namespace

std::uint32_t vector_width(std::string_view directive) {
  return directive == ".v2" ? 2 : directive == ".v4" ? 4 : directive == ".v8" ? 8 : 0;
}

void Parser::parse_attribute(Variable& variable) {
  expect('(');
  do {
    const Token attribute = lexer_.take();
    if (attribute.text == ".managed") {
      variable.managed = true;
    } else if (attribute.text == ".unified") {
      expect('(');
      parse_integer("an identifier");
      expect(',');
      parse_integer("an identifier");
      expect(')');
    } else {
      fail("attribute " + std::string(attribute.text) + " is not known");
    }
  } while (lexer_.accept(','));
  expect(')');
}

void Parser::parse_dimensions(Variable& variable, std::uint64_t& count) {
  bool first = true;
  while (lexer_.accept('[')) {
    if (first && lexer_.accept(']')) {
      variable.unsized = true;
      first = false;
      continue;
    }
    first = false;
    const std::int64_t extent = parse_integer("an array size");
    expect(']');
    if (extent < 0 || (extent > 0 && count > kMaxVariableBytes / static_cast<std::uint64_t>(
                                                                     extent))) {
      fail("the size of " + std::string(variable.name) + " is out of range");
    }
    count *= static_cast<std::uint64_t>(extent);
  }
}

// An address as an initial value: sym, sym+4, generic(sym), generic(sym)+4. With a mask such as
// 0xff00(sym) one byte of it.
void Parser::parse_address_value(Variable& variable, std::uint64_t offset) {
  Relocation relocation;
  relocation.offset = offset;
  relocation.bytes = static_cast<std::uint8_t>(bytes_of(variable.type));
  Token word = expect_word("a symbol");
  if (word.text == "generic") {
    relocation.generic = true;
    expect('(');
    word = expect_word("a symbol");
  }
  relocation.symbol = word.text;
  const auto addend = [&] {
    if (lexer_.accept('+') || lexer_.peek().is('-')) {
      relocation.addend += parse_integer("an offset");
    }
  };
  addend();
  if (relocation.generic) {
    expect(')');
    addend();
  }
  store(variable, offset, 0, relocation.bytes);
  variable.relocations.push_back(relocation);
}

void Parser::parse_values(Variable& variable, std::uint64_t& offset) {
  if (++nesting_ > 32) {
    fail("initial values are nested too deeply");
  }
  if (lexer_.accept('{')) {
    while (!lexer_.accept('}')) {
      parse_values(variable, offset);
      if (!lexer_.peek().is('}')) {
        expect(',');
      }
    }
    --nesting_;
    return;
  }
  const std::uint32_t bytes = bytes_of(variable.type);
  if (offset > kMaxInitialBytes) {
    fail("too many initial values");
  }
  if (lexer_.peek().kind == TokenKind::word && lexer_.peek().text != "WARP_SZ") {
    parse_address_value(variable, offset);
  } else {
    const std::uint32_t outer = nesting_;
    const Operand value = parse_constant();
    nesting_ = outer;
    auto bits = static_cast<std::uint64_t>(value.value);
    if (lexer_.accept('(')) {
      parse_address_value(variable, offset);
      expect(')');
      Relocation& relocation = variable.relocations.back();
      relocation.shift = static_cast<std::uint8_t>(bits == 0 ? 0 : std::countr_zero(bits));
    } else {
      if (value.kind == OperandKind::floating && !value.single && variable.type == Type::f32) {
        bits = std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
      } else if (value.kind == OperandKind::floating && value.single &&
                 variable.type == Type::f64) {
        bits = std::bit_cast<std::uint64_t>(
            double{std::bit_cast<float>(static_cast<std::uint32_t>(bits))});
      }
      store(variable, offset, bits, bytes);
    }
  }
  offset += bytes;
  --nesting_;
}

void Parser::parse_initialiser(Variable& variable, std::uint64_t& count) {
  std::uint64_t offset = 0;
  nesting_ = 0;
  parse_values(variable, offset);
  const std::uint64_t bytes = bytes_of(variable.type);
  if (variable.unsized) {
    count *= (offset + count * bytes - 1) / (count * bytes);
    variable.unsized = false;
  }
  if (offset > count * bytes) {
    fail(std::string(variable.name) + " has more initial values than elements");
  }
}

void Parser::parse_variables(Space space, const Linkage& linkage, std::vector<Variable>& into) {
  Variable common;
  common.space = space;
  common.external = linkage.external;
  common.visible = linkage.visible;
  std::uint64_t width = 1;
  std::uint32_t align = 0;
  while (common.type == Type::none) {
    const Token directive = lexer_.take();
    if (directive.text == ".align") {
      align = static_cast<std::uint32_t>(parse_integer("an alignment"));
      if (!std::has_single_bit(align) || align > 1U << 20) {
        fail("an alignment must be a power of two");
      }
    } else if (directive.text == ".attribute") {
      parse_attribute(common);
    } else if (vector_width(directive.text) != 0) {
      width = vector_width(directive.text);
    } else if (directive.kind == TokenKind::directive) {
      common.type = type_named(directive.text.substr(1));
      if (bytes_of(common.type) == 0) {
        fail("'" + std::string(directive.text) + "' is not the type of a variable");
      }
    } else {
      fail("the type of a variable is expected before '" + std::string(directive.text) + "'");
    }
  }
  do {
    Variable variable = common;
    const Token name = expect_word("the name of a variable");
    variable.name = name.text;
    variable.line = name.line;
    std::uint64_t count = width;
    variable.align = align != 0 ? align
                                : bytes_of(common.type) * static_cast<std::uint32_t>(width);
    if (lexer_.accept('<')) {
      fail("ranges of variables are not supported");
    }
    parse_dimensions(variable, count);
    if (lexer_.accept('=')) {
      parse_initialiser(variable, count);
    }
    variable.bytes = variable.unsized ? 0 : count * bytes_of(common.type);
    if (variable.bytes > kMaxVariableBytes) {
      fail("the size of " + std::string(variable.name) + " is out of range");
    }
    into.push_back(std::move(variable));
  } while (lexer_.accept(','));
  expect(';');
}

}  // namespace phos::sim::ptx::text
