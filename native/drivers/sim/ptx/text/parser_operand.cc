// SPDX-License-Identifier: Apache-2.0
// Operands: registers, symbols, addresses, vectors and constant expressions.
#include <bit>
#include <charconv>
#include <cstdlib>

#include "parser.h"

namespace phos::sim::ptx::text {
namespace {

constexpr std::uint32_t kMaxNesting = 64;

// Binary operators of constant expressions by precedence, loosest first.
struct Binary {
  std::string_view text;
  int level;
};
constexpr Binary kBinaries[] = {
    {"||", 0}, {"&&", 1}, {"|", 2},  {"^", 3},  {"&", 4},  {"==", 5}, {"!=", 5}, {"<=", 6},
    {">=", 6}, {"<<", 7}, {">>", 7}, {"<", 6},  {">", 6},  {"+", 8},  {"-", 8},  {"*", 9},
    {"/", 9},  {"%", 9},
};
constexpr int kTightest = 9;

std::int64_t apply(std::string_view op, std::int64_t a, std::int64_t b) {
  const auto ua = static_cast<std::uint64_t>(a);
  const auto ub = static_cast<std::uint64_t>(b);
  const auto wrap = [](std::uint64_t value) { return static_cast<std::int64_t>(value); };
  if (op == "||") return a != 0 || b != 0;
  if (op == "&&") return a != 0 && b != 0;
  if (op == "|") return a | b;
  if (op == "^") return a ^ b;
  if (op == "&") return a & b;
  if (op == "==") return a == b;
  if (op == "!=") return a != b;
  if (op == "<=") return a <= b;
  if (op == ">=") return a >= b;
  if (op == "<") return a < b;
  if (op == ">") return a > b;
  if (op == "<<") return ub > 63 ? 0 : wrap(ua << ub);
  if (op == ">>") return ub > 63 ? (a < 0 ? -1 : 0) : a >> ub;
  if (op == "+") return wrap(ua + ub);
  if (op == "-") return wrap(ua - ub);
  if (op == "*") return wrap(ua * ub);
  if (op == "/") return b == 0 ? 0 : b == -1 ? wrap(0 - ua) : a / b;
  return b == 0 || b == -1 ? 0 : a % b;
}

}  // namespace

Operand Parser::parse_number() {
  const Token token = lexer_.take();
  std::string_view text = token.text;
  Operand operand;
  operand.kind = OperandKind::integer;
  const char second = text.size() > 1 ? text[1] : '\0';
  if (text[0] == '0' && (second == 'f' || second == 'F' || second == 'd' || second == 'D')) {
    const bool single = second == 'f' || second == 'F';
    std::uint64_t bits = 0;
    const auto [end, error] =
        std::from_chars(text.data() + 2, text.data() + text.size(), bits, 16);
    if (error != std::errc{} || end != text.data() + text.size() ||
        text.size() != (single ? 10U : 18U)) {
      fail("'" + std::string(text) + "' is not a floating-point constant");
    }
    operand.kind = OperandKind::floating;
    operand.single = single;
    operand.value = static_cast<std::int64_t>(bits);
    return operand;
  }
  if (text.find_first_of(".") != std::string_view::npos ||
      (second != 'x' && second != 'X' && text.find_first_of("eE") != std::string_view::npos)) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
      fail("'" + std::string(text) + "' is not a floating-point constant");
    }
    operand.kind = OperandKind::floating;
    operand.value = std::bit_cast<std::int64_t>(value);
    return operand;
  }
  if (text.back() == 'U' || text.back() == 'u') {
    text.remove_suffix(1);
  }
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    base = second == 'x' || second == 'X' ? 16 : second == 'b' || second == 'B' ? 2 : 8;
    text.remove_prefix(base == 8 ? 1 : 2);
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) {
    fail("'" + std::string(token.text) + "' is not a number");
  }
  operand.value = static_cast<std::int64_t>(value);
  return operand;
}

Operand Parser::parse_unary() {
  if (++nesting_ > kMaxNesting) {
    fail("this expression is nested too deeply");
  }
  Operand operand;
  if (lexer_.accept('-')) {
    operand = parse_unary();
    if (operand.kind == OperandKind::floating) {
      operand.value = operand.single ? operand.value ^ 0x80000000
                                     : operand.value ^ std::int64_t{INT64_MIN};
    } else {
      operand.value = apply("-", 0, operand.value);
    }
  } else if (lexer_.accept('+')) {
    operand = parse_unary();
  } else if (lexer_.accept('~')) {
    operand = parse_unary();
    operand.value = ~operand.value;
  } else if (lexer_.accept('!')) {
    operand = parse_unary();
    operand.value = operand.value == 0 ? 1 : 0;
  } else if (lexer_.accept('(')) {
    if (lexer_.peek().kind == TokenKind::directive) {  // a cast: (.s64) or (.u64)
      lexer_.take();
      expect(')');
      operand = parse_unary();
    } else {
      operand = parse_expression(0);
      expect(')');
    }
  } else if (lexer_.peek().kind == TokenKind::number) {
    operand = parse_number();
  } else if (lexer_.accept("WARP_SZ")) {
    operand.kind = OperandKind::integer;
    operand.value = 32;
  } else {
    fail("a constant is expected before '" + std::string(lexer_.peek().text) + "'");
  }
  --nesting_;
  return operand;
}

Operand Parser::parse_expression(int level) {
  if (level > kTightest) {
    return parse_unary();
  }
  Operand left = parse_expression(level + 1);
  while (lexer_.peek().kind == TokenKind::mark) {
    // Marks are single characters; two-character operators are two marks side by side.
    const Binary* found = nullptr;
    for (const Binary& binary : kBinaries) {
      if (lexer_.ahead(binary.text)) {
        found = &binary;
        break;
      }
    }
    if (found == nullptr || found->level != level) {
      break;
    }
    for (std::size_t i = 0; i < found->text.size(); ++i) {
      lexer_.take();
    }
    const Operand right = parse_expression(level + 1);
    left.value = apply(found->text, left.value, right.value);
  }
  if (level == 0 && lexer_.accept('?')) {
    const Operand yes = parse_expression(0);
    expect(':');
    const Operand no = parse_expression(0);
    return left.value != 0 ? yes : no;
  }
  return left;
}

Operand Parser::parse_constant() {
  nesting_ = 0;
  return parse_expression(0);
}

std::int64_t Parser::parse_integer(std::string_view what) {
  const Operand operand = parse_constant();
  if (operand.kind != OperandKind::integer) {
    fail(std::string(what) + " must be an integer");
  }
  return operand.value;
}

Operand Parser::parse_elements(char close, OperandKind kind) {
  Operand operand;
  operand.kind = kind;
  if (lexer_.accept(close)) {
    return operand;
  }
  do {
    operand.elements.push_back(parse_operand());
  } while (lexer_.accept(','));
  expect(close);
  return operand;
}

Operand Parser::parse_address() {
  Operand operand;
  operand.kind = OperandKind::address;
  operand.elements.push_back(parse_single());
  Operand& base = operand.elements.front();
  if (base.kind == OperandKind::symbol || base.kind == OperandKind::integer) {
    operand.value = base.value;
    base.value = 0;
  }
  if (lexer_.accept('+')) {
    operand.value = apply("+", operand.value, parse_integer("an offset"));
  } else if (lexer_.peek().is('-')) {
    operand.value = apply("+", operand.value, parse_integer("an offset"));
  }
  while (lexer_.accept(',')) {  // coordinates of textures and tensors
    operand.elements.push_back(parse_operand());
  }
  expect(']');
  return operand;
}

Operand Parser::parse_word() {
  const Token token = lexer_.take();
  Operand operand;
  operand.name = token.text;
  if (token.text == "_") {
    operand.kind = OperandKind::sink;
    return operand;
  }
  operand.index = find_register(token.text);
  if (operand.index != kNone) {
    operand.kind = OperandKind::reg;
    return operand;
  }
  const std::size_t dot = token.text.find('.');
  if (dot != std::string_view::npos) {  // a byte or half of a register: %r1.b0
    operand.index = find_register(token.text.substr(0, dot));
    if (operand.index != kNone) {
      operand.kind = OperandKind::reg;
      operand.name = token.text.substr(dot + 1);
      return operand;
    }
  }
  if (token.text[0] == '%') {
    operand.kind = OperandKind::special;
    return operand;
  }
  operand.kind = OperandKind::symbol;
  if (lexer_.accept('+')) {
    operand.value = parse_integer("an offset");
  } else if (lexer_.peek().is('-')) {
    operand.value = parse_integer("an offset");
  }
  return operand;
}

Operand Parser::parse_single() {
  if (lexer_.peek().kind == TokenKind::word && lexer_.peek().text != "WARP_SZ") {
    return parse_word();
  }
  return parse_constant();
}

Operand Parser::parse_operand() {
  if (++depth_ > kMaxNesting) {
    fail("operands are nested too deeply");
  }
  Operand operand;
  if (lexer_.accept('{')) {
    operand = parse_elements('}', OperandKind::vector);
  } else if (lexer_.accept('[')) {
    operand = parse_address();
  } else if (lexer_.peek().is('!') || lexer_.peek().is('-')) {
    Lexer ahead = lexer_;
    ahead.take();
    if (ahead.peek().kind == TokenKind::word && ahead.peek().text != "WARP_SZ") {
      lexer_.take();
      operand = parse_word();
      operand.negated = true;
    } else {
      operand = parse_constant();
    }
  } else {
    operand = parse_single();
  }
  if (lexer_.accept('|')) {
    Operand pair;
    pair.kind = OperandKind::pair;
    pair.elements.push_back(std::move(operand));
    pair.elements.push_back(parse_operand());
    operand = std::move(pair);
  }
  --depth_;
  return operand;
}

}  // namespace phos::sim::ptx::text
