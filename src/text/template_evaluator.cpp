// Expressions of chat templates, evaluated.
#include "text/template_evaluator.h"

#include <algorithm>

#include "base/text.h"
#include "text/template.h"
#include "text/template_library.h"
#include "text/template_operators.h"

namespace gptq::jinja {

const Value* Scope::find(NameId name) const {
  for (const auto& [known, value] : values) {
    if (known == name) return &value;
  }
  return nullptr;
}

void Scope::set(NameId name, Value value) {
  for (auto& [known, held] : values) {
    if (known == name) {
      held = std::move(value);
      return;
    }
  }
  values.emplace_back(name, std::move(value));
}

Template::Template(std::string_view source, std::string_view name)
    : name_(name), tree_(std::make_unique<const Tree>(parse_template(source, name))) {}
Template::~Template() = default;

std::string Template::render(const Value& variables, const std::tm& now) const {
  Runtime runtime(name_, now);
  return Evaluator(*tree_, runtime, variables).run();
}

Evaluator::Evaluator(const Tree& tree, Runtime& runtime, const Value& variables)
    : tree_(tree), runtime_(runtime) {
  globals_.resize(tree.names.size());
  const Dict* given = variables.dict();
  for (size_t i = 0; i < tree.names.size(); ++i) {
    const Value* value = given != nullptr ? given->find(tree.names[i]) : nullptr;
    if (value != nullptr) {
      globals_[i] = *value;
    } else if (const Native native = find_function(tree.names[i])) {
      globals_[i] = std::make_shared<const Callable>(Callable{tree.names[i], native, 0, nullptr, {}});
    } else {
      globals_[i] = make_undefined(cat("'", tree.names[i], "' is undefined"));
    }
  }
}

std::string Evaluator::run() {
  TextBuilder out(runtime_);
  out_ = &out;
  execute(tree_.root);
  return out.take();
}

Value Evaluator::evaluate(NodeId id) {
  const Runtime::Level level(runtime_);
  const Node& what = node(id);
  runtime_.work(1);
  runtime_.at_line(what.line);
  return evaluate_node(what);
}

Value Evaluator::evaluate_node(const Node& n) {
  switch (n.kind) {
    case NodeKind::constant: return n.value;
    case NodeKind::name: return evaluate_name(n.name);
    case NodeKind::attribute: {
      const Value object = evaluate(n.a);
      runtime_.at_line(n.line);
      return get_attribute(runtime_, object, n.value.text()->bytes);
    }
    case NodeKind::item: return evaluate_item(n);
    case NodeKind::call: return evaluate_call(n);
    case NodeKind::filter: return evaluate_filter(n, evaluate(n.a));
    case NodeKind::test: return evaluate_test(n);
    case NodeKind::negative: return negated(runtime_, evaluate(n.a));
    case NodeKind::positive: return calculate(runtime_, Arithmetic::add, int64_t{0}, evaluate(n.a));
    case NodeKind::negation: return !evaluate(n.a).is_true();
    case NodeKind::arithmetic: {
      const Value left = evaluate(n.a), right = evaluate(n.b);
      runtime_.at_line(n.line);
      return calculate(runtime_, static_cast<Arithmetic>(n.op), left, right);
    }
    case NodeKind::concatenation: {
      std::vector<Value> parts;
      for (NodeId part : n.list) parts.push_back(evaluate(part));
      return concatenated(runtime_, parts);
    }
    case NodeKind::comparison: return evaluate_comparison(n);
    case NodeKind::all_of:
    case NodeKind::any_of: {  // the value that decides
      Value value;
      for (NodeId part : n.list) {
        value = evaluate(part);
        if (value.is_true() == (n.kind == NodeKind::any_of)) break;
      }
      return value;
    }
    case NodeKind::conditional: return evaluate_conditional(n);
    case NodeKind::list:
    case NodeKind::tuple: return evaluate_list(n);
    case NodeKind::dict: return evaluate_dict(n);
    default: runtime_.fail("TypeError", "a slice stands where a value is wanted");
  }
}

Value Evaluator::evaluate_name(NameId id) {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    if (const Value* value = scope->find(id)) return *value;
  }
  return globals_[id];
}

Value Evaluator::evaluate_conditional(const Node& n) {
  if (evaluate(n.b).is_true()) return evaluate(n.a);
  if (n.c != kNoNode) return evaluate(n.c);
  return make_undefined("the inline if-expression on line " + cat(n.line) +
                        " evaluated to false and no else section was defined.");
}

Value Evaluator::evaluate_item(const Node& n) {
  const Value object = evaluate(n.a);
  const Node& key = node(n.b);
  if (key.kind != NodeKind::slice) return get_item(runtime_, object, evaluate(n.b));
  const auto part = [this](NodeId id) { return id != kNoNode ? evaluate(id) : Value(Value::None{}); };
  const Value begin = part(key.a), end = part(key.b), step = part(key.c);
  return get_slice(runtime_, object, begin, end, step);
}

Value Evaluator::evaluate_list(const Node& n) {
  auto out = make_sequence(runtime_, n.kind == NodeKind::list ? Flavor::list : Flavor::tuple);
  for (NodeId item : n.list) append(runtime_, *out, evaluate(item));
  return out;
}

Value Evaluator::evaluate_dict(const Node& n) {
  auto out = make_dict(runtime_);
  for (size_t i = 0; i + 1 < n.list.size(); i += 2) {
    Value key = evaluate(n.list[i]);
    out->set(runtime_, std::move(key), evaluate(n.list[i + 1]));
  }
  return out;
}

bool Evaluator::compares(Comparison op, const Value& a, const Value& b) {
  switch (op) {
    case Comparison::equal: return equal(runtime_, a, b);
    case Comparison::not_equal: return !equal(runtime_, a, b);
    case Comparison::less: return compare(runtime_, a, b, "<") < 0;
    case Comparison::less_equal: return compare(runtime_, a, b, "<=") <= 0;
    case Comparison::greater: return compare(runtime_, a, b, ">") > 0;
    case Comparison::greater_equal: return compare(runtime_, a, b, ">=") >= 0;
    case Comparison::in: return contains(runtime_, b, a);
    case Comparison::not_in: return !contains(runtime_, b, a);
  }
  return false;
}

/// a < b < c: each with its neighbour, as long as they hold.
Value Evaluator::evaluate_comparison(const Node& n) {
  Value left = evaluate(n.a);
  for (const auto& [op, id] : n.named) {
    Value right = evaluate(id);
    runtime_.at_line(n.line);
    if (!compares(static_cast<Comparison>(op), left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Arguments Evaluator::evaluate_arguments(const Node& n) {
  Arguments arguments;
  for (NodeId argument : n.list) arguments.positional.push_back(evaluate(argument));
  for (const auto& [id, value] : n.named) arguments.named.emplace_back(name(id), evaluate(value));
  // the operands of * and ** are the b and c of calls, filters and tests
  if (n.b != kNoNode) {
    const auto more = iterate(runtime_, evaluate(n.b));
    runtime_.work(more->items.size());
    arguments.positional.insert(arguments.positional.end(), more->items.begin(), more->items.end());
  }
  if (n.c != kNoNode) {
    const Value more = evaluate(n.c);
    if (more.dict() == nullptr) runtime_.fail("TypeError", "argument after ** must be a mapping");
    for (const auto& [key, value] : more.dict()->items) {
      if (!key.is_text()) runtime_.fail("TypeError", "keywords must be strings");
      arguments.named.emplace_back(key.text()->bytes, value);
    }
  }
  return arguments;
}

Value Evaluator::evaluate_call(const Node& n) {
  const Value callee = evaluate(n.a);
  Arguments arguments = evaluate_arguments(n);
  runtime_.at_line(n.line);
  return call(callee, std::move(arguments));
}

Value Evaluator::call(const Value& callee, Arguments arguments) {
  require_defined(runtime_, callee);
  const Callable* callable = callee.callable();
  if (callable == nullptr)
    runtime_.fail("TypeError", cat("'", callee.type_name(), "' object is not callable"));
  if (callable->native != nullptr) return callable->native(runtime_, callable->self, arguments);
  return call_macro(*callable, std::move(arguments));
}

Value Evaluator::evaluate_filter(const Node& n, const Value& input) {
  const Arguments arguments = evaluate_arguments(n);
  runtime_.at_line(n.line);
  if (n.native == nullptr)
    runtime_.fail("TemplateRuntimeError", cat("No filter named '", name(n.name), "' found."));
  return n.native(runtime_, input, arguments);
}

Value Evaluator::evaluate_test(const Node& n) {
  const Value value = evaluate(n.a);
  const Arguments arguments = evaluate_arguments(n);
  runtime_.at_line(n.line);
  if (n.native == nullptr)
    runtime_.fail("TemplateRuntimeError", cat("No test named '", name(n.name), "' found."));
  return n.native(runtime_, value, arguments);
}

/// Gives each parameter its argument, or its default, which may mention the ones before it.
void Evaluator::bind_parameters(const Node& n, const std::string& title, Arguments& arguments) {
  auto& named = arguments.named;
  for (size_t i = 0; i < n.named.size(); ++i) {
    const NameId id = n.named[i].first;
    const NodeId otherwise = n.named[i].second;
    const auto given =
        std::find_if(named.begin(), named.end(), [&](const auto& each) { return each.first == name(id); });
    if (i < arguments.positional.size()) {
      scope_->set(id, arguments.positional[i]);
    } else if (given != named.end()) {
      scope_->set(id, given->second);
      named.erase(given);
    } else if (otherwise != kNoNode) {
      scope_->set(id, evaluate(otherwise));
    } else {
      scope_->set(id, make_undefined(cat("parameter '", name(id), "' was not provided")));
    }
  }
  if (arguments.positional.size() > n.named.size() && (n.op & kUsesMore) == 0)
    runtime_.fail("TypeError",
                  cat("macro '", title, "' takes not more than ", n.named.size(), " argument(s)"));
}

Value Evaluator::call_macro(const Callable& macro, Arguments arguments) {
  const Runtime::Level level(runtime_);
  const Node& n = node(macro.node);
  const Inside inside(*this, macro.scope);
  bind_parameters(n, macro.name, arguments);
  auto more = make_sequence(runtime_, Flavor::tuple);
  for (size_t i = n.named.size(); i < arguments.positional.size(); ++i)
    append(runtime_, *more, arguments.positional[i]);
  auto named = make_dict(runtime_);
  Value caller = make_undefined("No caller defined");
  for (auto& [key, value] : arguments.named) {
    if (key == "caller" && (n.op & kUsesCaller) != 0) {
      caller = value;
    } else if ((n.op & kUsesNamed) == 0) {
      runtime_.fail("TypeError", cat("macro '", macro.name, "' takes no keyword argument '", key, "'"));
    } else {
      named->set(runtime_, make_text(runtime_, key), value);
    }
  }
  if ((n.op & kUsesMore) != 0) scope_->set(tree_.varargs, more);
  if ((n.op & kUsesNamed) != 0) scope_->set(tree_.kwargs, named);
  if ((n.op & kUsesCaller) != 0) scope_->set(tree_.caller, caller);
  return capture(n.kind == NodeKind::call_block ? n.b : n.a);
}

}  // namespace gptq::jinja
