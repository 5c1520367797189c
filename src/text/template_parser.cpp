// Statements of chat templates.
#include "text/template_parser.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace gptq::jinja {

Parser::Level::Level(Parser& parser) : parser_(parser) {
  if (++parser_.level_ > kMaxNesting) {
    --parser_.level_;
    throw Error(Fault::limit, cat(parser_.name_, ": line ", parser_.current().line, ": nested more than ",
                                  kMaxNesting, " deep"));
  }
}

Parser::Parser(std::string_view source, std::string_view name)
    : name_(name), tokens_(tokenize(source, name)) {}

Tree Parser::run() {
  tree_.caller = intern("caller");
  tree_.kwargs = intern("kwargs");
  tree_.varargs = intern("varargs");
  tree_.root = parse_body({});
  return std::move(tree_);
}

Tree parse_template(std::string_view source, std::string_view name) { return Parser(source, name).run(); }

void Parser::refuse(const std::string& message) const { refuse_template(name_, current().line, message); }

void Parser::unexpected(std::string_view wanted) const {
  refuse(cat("found ", current().described(), ", wanted ", wanted));
}

bool Parser::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  next();
  return true;
}

bool Parser::skip_op(std::string_view op) {
  if (!current().is_op(op)) return false;
  next();
  return true;
}

void Parser::expect_op(std::string_view op) {
  if (!skip_op(op)) unexpected(cat("'", op, "'"));
}

void Parser::expect_name(std::string_view name) {
  if (!skip_name(name)) unexpected(cat("'", name, "'"));
}

void Parser::expect(TokenKind kind, std::string_view wanted) {
  if (current().kind != kind) unexpected(wanted);
  next();
}

std::string Parser::expect_identifier() {
  if (current().kind != TokenKind::name) unexpected("a name");
  std::string name = current().text;
  next();
  return name;
}

NameId Parser::intern(std::string_view name) {
  const auto [at, is_new] = name_ids_.emplace(std::string(name), static_cast<NameId>(tree_.names.size()));
  if (is_new) tree_.names.emplace_back(name);
  return at->second;
}

Node Parser::make(NodeKind kind) const {
  Node node;
  node.kind = kind;
  node.line = current().line;
  return node;
}

NodeId Parser::add(Node node) {
  tree_.nodes.push_back(std::move(node));
  return static_cast<NodeId>(tree_.nodes.size() - 1);
}

Value Parser::constant_text(std::string text) const {
  return std::make_shared<const Text>(nullptr, std::move(text), Markup::no);
}

bool Parser::ends_here(std::initializer_list<std::string_view> ends) const {
  return std::any_of(ends.begin(), ends.end(),
                     [this](std::string_view end) { return current().is_name(end); });
}

/// Up to a tag that `ends` has, whose name is then the current token, or to the end of the template if it has none.
NodeId Parser::parse_body(std::initializer_list<std::string_view> ends) {
  const Level level(*this);
  Node body = make(NodeKind::body);
  for (;;) {
    if (current().kind == TokenKind::end) {
      if (ends.size() != 0) unexpected(cat("'", *ends.begin(), "'"));
      break;
    }
    if (current().kind == TokenKind::data) {
      Node data = make(NodeKind::data);
      data.value = constant_text(current().text);
      next();
      body.list.push_back(add(std::move(data)));
    } else if (current().kind == TokenKind::print_begin) {
      next();
      Node output = make(NodeKind::output);
      output.a = parse_tuple(Conditionals::yes);
      expect(TokenKind::print_end, "'}}'");
      body.list.push_back(add(std::move(output)));
    } else {
      expect(TokenKind::block_begin, "a tag");
      if (ends_here(ends)) break;
      body.list.push_back(parse_statement());
      expect(TokenKind::block_end, "'%}'");
    }
  }
  return add(std::move(body));
}

/// The rest of a tag, and what follows up to one of `ends`.
NodeId Parser::parse_block(std::initializer_list<std::string_view> ends) {
  skip_op(":");
  expect(TokenKind::block_end, "'%}'");
  return parse_body(ends);
}

NodeId Parser::parse_block_to(std::string_view end) {
  const NodeId body = parse_block({end});
  next();
  return body;
}

NodeId Parser::parse_statement() {
  const std::string tag = current().kind == TokenKind::name ? current().text : std::string();
  if (tag == "for") return parse_for();
  if (tag == "if") return parse_if();
  if (tag == "set") return parse_set();
  if (tag == "macro") return parse_macro();
  if (tag == "call") return parse_call_block();
  if (tag == "filter") return parse_filter_block();
  if (tag == "with") return parse_with();
  if (tag == "print") return parse_print();
  if (tag == "generation") return parse_scope("endgeneration");  // marks what the assistant writes
  if (tag == "block") return parse_scope("endblock");
  if (tag == "break") return parse_jump(NodeKind::leave_loop);
  if (tag == "continue") return parse_jump(NodeKind::next_item);
  for (std::string_view known : {"include", "import", "from", "extends", "autoescape", "do", "trans"}) {
    if (tag == known) {
      throw Error(Fault::unsupported,
                  cat(name_, ": line ", current().line, ": the tag '", tag, "' is not for chat templates"));
    }
  }
  unexpected("a tag such as 'if', 'for' or 'set'");
}

NodeId Parser::parse_for() {
  Node node = make(NodeKind::loop);
  node.name = intern("loop");
  next();
  node.a = parse_target(Members::no);
  expect_name("in");
  node.b = parse_tuple(Conditionals::no);
  if (skip_name("if")) node.c = parse_expression();
  if (current().is_name("recursive")) {
    throw Error(Fault::unsupported,
                cat(name_, ": line ", current().line, ": recursive loops are not for chat templates"));
  }
  ++loops_;
  node.list.push_back(parse_block({"endfor", "else"}));
  --loops_;
  const bool otherwise = current().is_name("else");
  next();
  if (otherwise) node.list.push_back(parse_block_to("endfor"));
  return add(std::move(node));
}

NodeId Parser::parse_if() {
  Node node = make(NodeKind::choice);
  do {
    next();
    node.list.push_back(parse_tuple(Conditionals::no));
    node.list.push_back(parse_block({"elif", "else", "endif"}));
  } while (current().is_name("elif"));
  const bool otherwise = current().is_name("else");
  next();
  if (otherwise) node.c = parse_block_to("endif");
  return add(std::move(node));
}

/// A name; "name.value"; a tuple of them, with or without brackets.
NodeId Parser::parse_target(Members members) {
  const Level level(*this);
  Node tuple = make(NodeKind::tuple);
  bool is_tuple = false;
  while (!current().is_name("in") && !current().is_op("=") && !current().is_op(")")) {
    if (skip_op("(")) {
      tuple.list.push_back(parse_target(members));
      expect_op(")");
    } else {
      tuple.list.push_back(parse_target_name(members));
    }
    if (!skip_op(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return add(std::move(tuple));
  if (tuple.list.empty()) unexpected("a name to assign to");
  return tuple.list.front();
}

NodeId Parser::parse_target_name(Members members) {
  Node node = make(NodeKind::name);
  const std::string name = expect_identifier();
  for (std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
    if (name == constant) refuse(cat("can't assign to '", name, "'"));
  }
  node.name = intern(name);
  if (members == Members::yes && skip_op(".")) {
    node.kind = NodeKind::member;
    node.value = constant_text(expect_identifier());
  }
  return add(std::move(node));
}

NodeId Parser::parse_set() {
  Node node = make(NodeKind::assign);
  next();
  node.a = parse_target(Members::yes);
  if (skip_op("=")) {
    node.b = parse_tuple(Conditionals::yes);
    return add(std::move(node));
  }
  node.kind = NodeKind::assign_block;
  if (current().is_op("|")) node.b = parse_filter_chain(kNoNode);
  node.c = parse_block_to("endset");
  return add(std::move(node));
}

void Parser::parse_parameters(Node& node) {
  expect_op("(");
  while (!current().is_op(")")) {
    if (!node.named.empty()) expect_op(",");
    const NameId name = intern(expect_identifier());
    NodeId value = kNoNode;
    if (skip_op("=")) {
      value = parse_expression();
    } else if (!node.named.empty() && node.named.back().second != kNoNode) {
      refuse(cat("parameter '", tree_.names[name], "' has no default, but the one before it has"));
    }
    node.named.emplace_back(name, value);
  }
  next();
}

NodeId Parser::parse_macro() {
  Node node = make(NodeKind::macro);
  next();
  node.name = intern(expect_identifier());
  parse_parameters(node);
  const uint8_t mentioned_outside = std::exchange(mentioned_, uint8_t{0});
  const int loops_outside = std::exchange(loops_, 0);
  node.a = parse_block_to("endmacro");
  node.op = mentioned_;
  mentioned_ |= mentioned_outside;
  loops_ = loops_outside;
  return add(std::move(node));
}

NodeId Parser::parse_call_block() {
  Node node = make(NodeKind::call_block);
  next();
  if (current().is_op("(")) parse_parameters(node);
  node.a = parse_expression();
  if (at(node.a).kind != NodeKind::call) refuse("the tag 'call' wants a call");
  const int loops_outside = std::exchange(loops_, 0);
  node.b = parse_block_to("endcall");
  node.op = mentioned_ & static_cast<uint8_t>(kUsesNamed | kUsesMore);
  loops_ = loops_outside;
  return add(std::move(node));
}

NodeId Parser::parse_filter_block() {
  Node node = make(NodeKind::filter_block);
  next();
  node.a = parse_filter_chain(parse_filter(kNoNode));
  const int loops_outside = std::exchange(loops_, 0);
  node.b = parse_block_to("endfilter");
  loops_ = loops_outside;
  return add(std::move(node));
}

NodeId Parser::parse_with() {
  Node node = make(NodeKind::scope);
  next();
  while (current().kind != TokenKind::block_end) {
    if (!node.list.empty()) expect_op(",");
    node.list.push_back(parse_target(Members::no));
    expect_op("=");
    node.list.push_back(parse_expression());
  }
  node.a = parse_block_to("endwith");
  return add(std::move(node));
}

NodeId Parser::parse_scope(std::string_view end) {
  Node node = make(NodeKind::scope);
  next();
  if (end == "endblock") {
    expect_identifier();
    skip_name("scoped");
  }
  const int loops_outside = std::exchange(loops_, 0);
  node.a = parse_block_to(end);
  loops_ = loops_outside;
  if (end == "endblock" && current().kind == TokenKind::name) next();
  return add(std::move(node));
}

NodeId Parser::parse_print() {
  Node body = make(NodeKind::body);
  next();
  while (current().kind != TokenKind::block_end) {
    if (!body.list.empty()) expect_op(",");
    Node output = make(NodeKind::output);
    output.a = parse_expression();
    body.list.push_back(add(std::move(output)));
  }
  return add(std::move(body));
}

NodeId Parser::parse_jump(NodeKind kind) {
  if (loops_ == 0) refuse(cat("'", current().text, "' is outside of a loop"));
  Node node = make(kind);
  next();
  return add(std::move(node));
}

}  // namespace gptq::jinja
