// Expressions of chat templates, in Jinja's order of precedence.
#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "text/template_library.h"
#include "text/template_parser.h"

namespace gptq::jinja {

NodeId Parser::parse_expression(Conditionals conditionals) {
  const Level level(*this);
  NodeId value = parse_or();
  while (conditionals == Conditionals::yes && current().is_name("if")) {
    Node node = make(NodeKind::conditional);
    next();
    node.a = value;
    node.b = parse_or();
    if (skip_name("else")) node.c = parse_expression();
    value = add(std::move(node));
  }
  return value;
}

/// One expression, or a tuple of several without brackets.
/// @param empty_is_one  whether none at all is the empty tuple
NodeId Parser::parse_tuple(Conditionals conditionals, bool empty_is_one) {
  Node node = make(NodeKind::tuple);
  bool is_tuple = false;
  const auto at_end = [this] {
    const Token& token = current();
    return token.kind == TokenKind::print_end || token.kind == TokenKind::block_end || token.is_op(")");
  };
  while (!at_end()) {
    node.list.push_back(parse_expression(conditionals));
    if (!skip_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !node.list.empty()) return node.list.front();
  if (node.list.empty() && !empty_is_one) unexpected("an expression");
  return add(std::move(node));
}

NodeId Parser::parse_or() {
  Node node = make(NodeKind::any_of);
  node.list.push_back(parse_and());
  while (skip_name("or")) node.list.push_back(parse_and());
  return node.list.size() == 1 ? node.list.front() : add(std::move(node));
}

NodeId Parser::parse_and() {
  Node node = make(NodeKind::all_of);
  node.list.push_back(parse_not());
  while (skip_name("and")) node.list.push_back(parse_not());
  return node.list.size() == 1 ? node.list.front() : add(std::move(node));
}

NodeId Parser::parse_not() {
  if (!current().is_name("not")) return parse_comparison();
  const Level level(*this);
  Node node = make(NodeKind::negation);
  next();
  node.a = parse_not();
  return add(std::move(node));
}

NodeId Parser::parse_comparison() {
  struct Row {
    std::string_view op;
    Comparison kind;
  };
  constexpr Row kRows[] = {{"==", Comparison::equal},  {"!=", Comparison::not_equal},
                           {"<", Comparison::less},    {"<=", Comparison::less_equal},
                           {">", Comparison::greater}, {">=", Comparison::greater_equal}};
  Node node = make(NodeKind::comparison);
  node.a = parse_sum();
  for (;;) {
    const auto* row = std::find_if(std::begin(kRows), std::end(kRows),
                                   [this](const Row& each) { return current().is_op(each.op); });
    Comparison kind = Comparison::in;
    if (row != std::end(kRows)) {
      kind = row->kind;
    } else if (current().is_name("not") && ahead().is_name("in")) {
      kind = Comparison::not_in;
      next();
    } else if (!current().is_name("in")) {
      break;
    }
    next();
    const NodeId right = parse_sum();
    node.named.emplace_back(static_cast<uint32_t>(kind), right);
  }
  return node.named.empty() ? node.a : add(std::move(node));
}

NodeId Parser::binary(Arithmetic op, NodeId left, NodeId right, uint32_t line) {
  Node node = make(NodeKind::arithmetic);
  node.line = line;
  node.op = static_cast<uint8_t>(op);
  node.a = left;
  node.b = right;
  return add(std::move(node));
}

NodeId Parser::parse_sum() {
  NodeId left = parse_concatenation();
  while (current().is_op("+") || current().is_op("-")) {
    const Arithmetic op = current().is_op("+") ? Arithmetic::add : Arithmetic::subtract;
    const uint32_t line = current().line;
    next();
    left = binary(op, left, parse_concatenation(), line);
  }
  return left;
}

NodeId Parser::parse_concatenation() {
  Node node = make(NodeKind::concatenation);
  node.list.push_back(parse_product());
  while (skip_op("~")) node.list.push_back(parse_product());
  return node.list.size() == 1 ? node.list.front() : add(std::move(node));
}

NodeId Parser::parse_product() {
  struct Row {
    std::string_view op;
    Arithmetic kind;
  };
  constexpr Row kRows[] = {{"*", Arithmetic::multiply},
                           {"/", Arithmetic::divide},
                           {"//", Arithmetic::floor_divide},
                           {"%", Arithmetic::modulo}};
  NodeId left = parse_power();
  for (;;) {
    const auto* row = std::find_if(std::begin(kRows), std::end(kRows),
                                   [this](const Row& each) { return current().is_op(each.op); });
    if (row == std::end(kRows)) return left;
    const uint32_t line = current().line;
    next();
    left = binary(row->kind, left, parse_power(), line);
  }
}

NodeId Parser::parse_power() {
  NodeId left = parse_unary(true);
  while (current().is_op("**")) {
    const uint32_t line = current().line;
    next();
    left = binary(Arithmetic::power, left, parse_unary(true), line);
  }
  return left;
}

NodeId Parser::parse_unary(bool with_filters) {
  NodeId value = kNoNode;
  if (current().is_op("-") || current().is_op("+")) {
    const Level level(*this);
    Node node = make(current().is_op("-") ? NodeKind::negative : NodeKind::positive);
    next();
    node.a = parse_unary(false);
    value = add(std::move(node));
  } else {
    value = parse_primary();
  }
  value = parse_postfix(value);
  return with_filters ? parse_filters_and_tests(value) : value;
}

NodeId Parser::parse_primary() {
  const Token& token = current();
  Node node = make(NodeKind::constant);
  if (token.kind == TokenKind::name) {
    const std::string name = token.text;
    next();
    if (name == "true" || name == "True" || name == "false" || name == "False") {
      node.value = name == "true" || name == "True";
    } else if (name == "none" || name == "None") {
      node.value = Value::None{};
    } else {
      node.kind = NodeKind::name;
      node.name = intern(name);
      if (name == "caller") mentioned_ |= kUsesCaller;
      if (name == "kwargs") mentioned_ |= kUsesNamed;
      if (name == "varargs") mentioned_ |= kUsesMore;
    }
    return add(std::move(node));
  }
  if (token.kind == TokenKind::string) {
    std::string text;
    for (; current().kind == TokenKind::string; next()) text += current().text;
    node.value = constant_text(std::move(text));
    return add(std::move(node));
  }
  if (token.kind == TokenKind::integer || token.kind == TokenKind::number) return parse_number();
  if (skip_op("(")) {
    const NodeId inner = parse_tuple(Conditionals::yes, true);
    expect_op(")");
    return inner;
  }
  if (token.is_op("[")) return parse_list();
  if (token.is_op("{")) return parse_dict();
  unexpected("an expression");
}

NodeId Parser::parse_number() {
  Node node = make(NodeKind::constant);
  const std::string& digits = current().text;
  const char* end = digits.data() + digits.size();
  std::from_chars_result result{};
  if (current().kind == TokenKind::integer) {
    const char kind = digits.size() > 2 && digits[0] == '0' ? digits[1] : '0';
    const int base = kind == 'x' || kind == 'X'   ? 16
                     : kind == 'o' || kind == 'O' ? 8
                     : kind == 'b' || kind == 'B' ? 2
                                                  : 10;
    int64_t value = 0;
    result = std::from_chars(digits.data() + (base == 10 ? 0 : 2), end, value, base);
    node.value = value;
  } else {
    double value = 0;
    result = std::from_chars(digits.data(), end, value);
    node.value = value;
  }
  if (result.ec != std::errc() || result.ptr != end) unexpected("a number of at most 64 bits");
  next();
  return add(std::move(node));
}

NodeId Parser::parse_list() {
  Node node = make(NodeKind::list);
  expect_op("[");
  while (!current().is_op("]")) {
    if (!node.list.empty()) expect_op(",");
    if (current().is_op("]")) break;
    node.list.push_back(parse_expression());
  }
  next();
  return add(std::move(node));
}

NodeId Parser::parse_dict() {
  Node node = make(NodeKind::dict);
  expect_op("{");
  while (!current().is_op("}")) {
    if (!node.list.empty()) expect_op(",");
    if (current().is_op("}")) break;
    node.list.push_back(parse_expression());
    expect_op(":");
    node.list.push_back(parse_expression());
  }
  next();
  return add(std::move(node));
}

NodeId Parser::parse_postfix(NodeId of) {
  for (;;) {
    if (current().is_op(".") || current().is_op("[")) {
      of = parse_subscript(of);
    } else if (current().is_op("(")) {
      of = parse_call(of);
    } else {
      return of;
    }
  }
}

NodeId Parser::parse_filters_and_tests(NodeId of) {
  for (;;) {
    if (current().is_op("|")) {
      next();
      of = parse_filter(of);
    } else if (current().is_name("is")) {
      of = parse_test(of);
    } else if (current().is_op("(")) {
      of = parse_call(of);
    } else {
      return of;
    }
  }
}

NodeId Parser::parse_subscript(NodeId of) {
  Node node = make(NodeKind::item);
  node.a = of;
  if (skip_op(".")) {
    if (current().kind == TokenKind::integer) {
      node.b = parse_number();
    } else {
      node.kind = NodeKind::attribute;
      node.value = constant_text(expect_identifier());
    }
    return add(std::move(node));
  }
  expect_op("[");
  Node tuple = make(NodeKind::tuple);
  while (!current().is_op("]")) {
    if (!tuple.list.empty()) expect_op(",");
    tuple.list.push_back(parse_slice_or_item());
  }
  next();
  node.b = tuple.list.size() == 1 ? tuple.list.front() : add(std::move(tuple));
  return add(std::move(node));
}

NodeId Parser::parse_slice_or_item() {
  const auto at_end = [this] { return current().is_op("]") || current().is_op(",") || current().is_op(":"); };
  Node node = make(NodeKind::slice);
  if (!current().is_op(":")) {
    node.a = parse_expression();
    if (!current().is_op(":")) return node.a;
  }
  next();
  if (!at_end()) node.b = parse_expression();
  if (skip_op(":") && !at_end()) node.c = parse_expression();
  return add(std::move(node));
}

/// "(a, b=c, *d, **e)" into node.list, named, b and c.
void Parser::parse_arguments(Node& node) {
  expect_op("(");
  bool first = true;
  while (!current().is_op(")")) {
    if (!first) {
      expect_op(",");
      if (current().is_op(")")) break;
    }
    first = false;
    if (node.c != kNoNode) unexpected("')'");
    if (skip_op("*")) {
      if (node.b != kNoNode) refuse("a call has '*' twice");
      node.b = parse_expression();
    } else if (skip_op("**")) {
      node.c = parse_expression();
    } else if (current().kind == TokenKind::name && ahead().is_op("=")) {
      const NameId name = intern(current().text);
      next();
      next();
      const NodeId value = parse_expression();
      node.named.emplace_back(name, value);
    } else if (node.b != kNoNode || !node.named.empty()) {
      unexpected("a named argument");
    } else {
      node.list.push_back(parse_expression());
    }
  }
  next();
}

NodeId Parser::parse_call(NodeId of) {
  Node node = make(NodeKind::call);
  node.a = of;
  parse_arguments(node);
  return add(std::move(node));
}

std::string Parser::parse_dotted_name() {
  std::string name = expect_identifier();
  while (skip_op(".")) name += cat(".", expect_identifier());
  return name;
}

/// From the name of the filter on.
NodeId Parser::parse_filter(NodeId of) {
  Node node = make(NodeKind::filter);
  node.a = of;
  const std::string name = parse_dotted_name();
  node.name = intern(name);
  node.native = find_filter(name);
  if (current().is_op("(")) parse_arguments(node);
  return add(std::move(node));
}

NodeId Parser::parse_filter_chain(NodeId of) {
  while (skip_op("|")) of = parse_filter(of);
  return of;
}

NodeId Parser::parse_test(NodeId of) {
  next();
  const uint32_t line = current().line;
  const bool negated = skip_name("not");
  Node node = make(NodeKind::test);
  node.a = of;
  const std::string name = parse_dotted_name();
  node.name = intern(name);
  node.native = find_test(name);
  const Token& token = current();
  const bool begins_value =
      token.kind == TokenKind::string || token.kind == TokenKind::integer ||
      token.kind == TokenKind::number || token.is_op("[") || token.is_op("{") ||
      (token.kind == TokenKind::name && !token.is_name("else") && !token.is_name("or") &&
       !token.is_name("and") && !token.is_name("if") && !token.is_name("not") && !token.is_name("in"));
  if (token.is_op("(")) {
    parse_arguments(node);
  } else if (begins_value) {
    if (token.is_name("is")) refuse("tests can't be chained with 'is'");
    node.list.push_back(parse_postfix(parse_primary()));
  }
  const NodeId test = add(std::move(node));
  if (!negated) return test;
  Node negation = make(NodeKind::negation);
  negation.line = line;
  negation.a = test;
  return add(std::move(negation));
}

}  // namespace gptq::jinja
