// Evaluates the tree of a template: expressions in template_evaluator.cpp, statements in template_statements.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/template_loop.h"
#include "text/template_node.h"
#include "text/template_text.h"

namespace gptq::jinja {

/// The names of a block. Macros are closures: what they were defined in stays as long as the rendering.
struct Scope {
  const Value* find(NameId name) const;
  void set(NameId name, Value value);

  Scope* parent = nullptr;
  bool captured = false;  // by a macro
  std::vector<std::pair<NameId, Value>> values;
};

class Evaluator {
 public:
  Evaluator(const Tree& tree, Runtime& runtime, const Value& variables);
  std::string run();

 private:
  friend class ForLoop;

  enum class Flow : uint8_t { onward, leave_loop, next_item };

  /// Enters a new scope, and leaves it.
  class Inside {
   public:
    Inside(Evaluator& evaluator, Scope* parent);
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
    ~Inside();

   private:
    Evaluator& evaluator_;
    Scope* outside_;
    Scope* scope_;
  };

  const Node& node(NodeId id) const { return tree_.nodes[id]; }
  const std::string& name(NameId id) const { return tree_.names[id]; }

  // expressions
  Value evaluate(NodeId id);
  Value evaluate_node(const Node& node);
  Value evaluate_name(NameId id);
  Value evaluate_item(const Node& node);
  Value evaluate_list(const Node& node);
  Value evaluate_dict(const Node& node);
  Value evaluate_comparison(const Node& node);
  Value evaluate_conditional(const Node& node);
  bool compares(Comparison op, const Value& a, const Value& b);
  Value evaluate_call(const Node& node);
  Value evaluate_filter(const Node& node, const Value& input);
  Value evaluate_test(const Node& node);
  Arguments evaluate_arguments(const Node& node);
  Value call(const Value& callee, Arguments arguments);
  Value call_macro(const Callable& macro, Arguments arguments);
  void bind_parameters(const Node& node, const std::string& title, Arguments& arguments);

  // statements
  Flow execute(NodeId id);
  Flow execute_node(const Node& node);
  Flow execute_body(const Node& node);
  Flow execute_choice(const Node& node);
  Flow execute_loop(const Node& node);
  Flow execute_scope(const Node& node);
  void execute_assign_block(const Node& node);
  void execute_call_block(const Node& node);
  void execute_filter_block(const Node& node);
  void assign(NodeId target, Value value);
  Value define_macro(NodeId node, std::string title);
  Value filtered(NodeId filter, const Value& input);
  /// What a body prints, as a text.
  Value capture(NodeId body);

  const Tree& tree_;
  Runtime& runtime_;
  std::vector<Value> globals_;                // by NameId: the variables, and the functions
  std::vector<std::unique_ptr<Scope>> kept_;  // captured ones
  size_t captured_ = 0;                       // of those that are open
  std::unique_ptr<Scope> spare_;              // to be used again
  Scope root_;
  Scope* scope_ = &root_;
  TextBuilder* out_ = nullptr;
};

}  // namespace gptq::jinja
