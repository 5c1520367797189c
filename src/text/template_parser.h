// The parser of chat templates, by recursive descent: statements in template_parser.cpp, expressions in
// template_expressions.cpp.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/template_lexer.h"
#include "text/template_node.h"

namespace gptq::jinja {

class Parser {
 public:
  Parser(std::string_view source, std::string_view name);
  Tree run();

 private:
  enum class Conditionals : uint8_t { no, yes };  // "a if b", which a "for ... if" must not take
  enum class Members : uint8_t { no, yes };       // "name.value" as a target of "set"

  /// Counts how deep the parser is in the source.
  class Level {
   public:
    explicit Level(Parser& parser);
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --parser_.level_; }

   private:
    Parser& parser_;
  };

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  void next() {
    if (current().kind != TokenKind::end) ++at_;
  }
  bool skip_name(std::string_view name);
  bool skip_op(std::string_view op);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  void expect(TokenKind kind, std::string_view wanted);
  std::string expect_identifier();
  [[noreturn]] void refuse(const std::string& message) const;
  [[noreturn]] void unexpected(std::string_view wanted) const;

  NameId intern(std::string_view name);
  NodeId add(Node node);
  Node make(NodeKind kind) const;
  Node& at(NodeId id) { return tree_.nodes[id]; }
  Value constant_text(std::string text) const;

  // statements
  NodeId parse_body(std::initializer_list<std::string_view> ends);
  NodeId parse_block(std::initializer_list<std::string_view> ends);
  NodeId parse_block_to(std::string_view end);
  bool ends_here(std::initializer_list<std::string_view> ends) const;
  NodeId parse_statement();
  NodeId parse_for();
  NodeId parse_if();
  NodeId parse_set();
  NodeId parse_macro();
  NodeId parse_call_block();
  NodeId parse_filter_block();
  NodeId parse_with();
  NodeId parse_scope(std::string_view end);
  NodeId parse_print();
  NodeId parse_jump(NodeKind kind);
  void parse_parameters(Node& node);
  NodeId parse_target(Members members);
  NodeId parse_target_name(Members members);

  // expressions
  NodeId parse_expression(Conditionals conditionals = Conditionals::yes);
  NodeId parse_tuple(Conditionals conditionals, bool empty_is_one = false);
  NodeId parse_or();
  NodeId parse_and();
  NodeId parse_not();
  NodeId parse_comparison();
  NodeId parse_sum();
  NodeId parse_concatenation();
  NodeId parse_product();
  NodeId parse_power();
  NodeId parse_unary(bool with_filters);
  NodeId parse_primary();
  NodeId parse_number();
  NodeId parse_list();
  NodeId parse_dict();
  NodeId parse_postfix(NodeId of);
  NodeId parse_filters_and_tests(NodeId of);
  NodeId parse_subscript(NodeId of);
  NodeId parse_slice_or_item();
  NodeId parse_call(NodeId of);
  NodeId parse_filter(NodeId of);
  NodeId parse_filter_chain(NodeId of);
  NodeId parse_test(NodeId of);
  std::string parse_dotted_name();
  void parse_arguments(Node& node);
  NodeId binary(Arithmetic op, NodeId left, NodeId right, uint32_t line);

  std::string name_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int level_ = 0;
  int loops_ = 0;          // that "break" could leave
  uint8_t mentioned_ = 0;  // kUses* of the macro being parsed
  Tree tree_;
  std::unordered_map<std::string, NameId> name_ids_;
};

}  // namespace gptq::jinja
