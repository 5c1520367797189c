// Statements of chat templates, carried out.
#include <deque>

#include "base/text.h"
#include "text/template_evaluator.h"
#include "text/template_library.h"
#include "text/template_operators.h"

namespace gptq::jinja {

/// What "loop" is. Items are looked for one by one, since the condition of "for ... if" may change with what the body
/// does; only "last", "nextitem" and "length" look further.
class ForLoop final : public Loop {
 public:
  ForLoop(Evaluator& evaluator, const Node& node, const Value& over)
      : evaluator_(&evaluator),
        node_(node),
        items_(iterate(evaluator.runtime_, over)),
        scope_(evaluator.scope_) {}

  /// The scope of the loop is gone: what is left of it answers no more.
  void end() {
    evaluator_ = nullptr;
    changed_ = ahead_ = {};
    current_ = before_ = {};
  }

  bool advance() {
    if (!peek()) return false;
    before_ = std::move(current_);
    current_ = std::move(ahead_.front());
    ahead_.pop_front();
    ++index_;
    return true;
  }
  const Value& current() const { return current_; }

  std::optional<Value> attribute(Runtime& runtime, std::string_view name) override {
    if (evaluator_ == nullptr) runtime.fail("UndefinedError", "the loop is over");
    if (name == "index") return index_ + 1;
    if (name == "index0") return index_;
    if (name == "first") return index_ == 0;
    if (name == "last") return !peek();
    if (name == "length") return length();
    if (name == "revindex") return length() - index_;
    if (name == "revindex0") return length() - index_ - 1;
    if (name == "depth") return int64_t{1};  // of recursive loops, which there are none of here
    if (name == "depth0") return int64_t{0};
    if (name == "previtem") return index_ == 0 ? make_undefined("there is no previous item") : before_;
    if (name == "nextitem") return peek() ? ahead_.front() : make_undefined("there is no next item");
    if (name == "cycle") return method(name, cycle);
    if (name == "changed") return method(name, changed);
    return std::nullopt;
  }

 private:
  /// Whether there is another item; finds it.
  bool peek() {
    while (ahead_.empty() && next_ < items_->items.size()) pull();
    return !ahead_.empty();
  }

  void pull() {
    const Value& item = items_->items[next_++];
    Runtime& runtime = evaluator_->runtime_;
    runtime.work(1);
    if (node_.c != kNoNode) {
      const uint32_t line = runtime.line();
      const Evaluator::Inside inside(*evaluator_, scope_);
      evaluator_->assign(node_.a, item);
      const bool passes = evaluator_->evaluate(node_.c).is_true();
      runtime.at_line(line);
      if (!passes) return;
    }
    ahead_.push_back(item);
  }

  int64_t length() {
    if (node_.c == kNoNode) return static_cast<int64_t>(items_->items.size());
    while (next_ < items_->items.size()) pull();
    return index_ + 1 + static_cast<int64_t>(ahead_.size());
  }

  Value method(std::string_view name, Native native) {
    return std::make_shared<const Callable>(Callable{std::string(name), native, 0, nullptr, self_.lock()});
  }

  static Value cycle(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const auto& loop = static_cast<const ForLoop&>(*self.loop());
    if (arguments.positional.empty()) runtime.fail("TypeError", "no items for cycling given");
    return arguments.positional[static_cast<size_t>(loop.index_) % arguments.positional.size()];
  }

  /// Whether the values are others than at the last call.
  static Value changed(Runtime& runtime, const Value& self, const Arguments& arguments) {
    auto& loop = static_cast<ForLoop&>(*self.loop());
    if (loop.evaluator_ == nullptr) runtime.fail("UndefinedError", "the loop is over");
    auto values = make_sequence(runtime, Flavor::tuple);
    for (const Value& value : arguments.positional) append(runtime, *values, value);
    const Value now = values;
    if (!loop.changed_.empty() && equal(runtime, loop.changed_.front(), now)) return false;
    loop.changed_ = {now};
    return true;
  }

  friend class Evaluator;
  Evaluator* evaluator_;
  const Node& node_;
  Items items_;
  std::weak_ptr<Loop> self_;
  Scope* scope_;     // around the loop
  size_t next_ = 0;  // item to look at
  int64_t index_ = -1;
  std::deque<Value> ahead_, changed_;
  Value current_, before_;
};

Evaluator::Inside::Inside(Evaluator& evaluator, Scope* parent)
    : evaluator_(evaluator), outside_(evaluator.scope_) {
  if (evaluator_.spare_ == nullptr) evaluator_.spare_ = std::make_unique<Scope>();
  scope_ = evaluator_.spare_.release();
  scope_->parent = parent;
  evaluator_.scope_ = scope_;
}

Evaluator::Inside::~Inside() {
  evaluator_.scope_ = outside_;
  std::unique_ptr<Scope> scope(scope_);
  if (scope->captured) {
    --evaluator_.captured_;
    evaluator_.kept_.push_back(std::move(scope));
    return;
  }
  scope->values.clear();
  evaluator_.spare_ = std::move(scope);
}

Evaluator::Flow Evaluator::execute(NodeId id) {
  const Runtime::Level level(runtime_);
  const Node& what = node(id);
  runtime_.work(1);
  runtime_.at_line(what.line);
  return execute_node(what);
}

Evaluator::Flow Evaluator::execute_node(const Node& n) {
  switch (n.kind) {
    case NodeKind::data: out_->add(n.value.text()->bytes); break;
    case NodeKind::output: {
      const Value value = evaluate(n.a);
      if (const Text* text = value.text()) {
        out_->add(text->bytes);
      } else {
        out_->add(to_string(runtime_, value));
      }
      break;
    }
    case NodeKind::body: return execute_body(n);
    case NodeKind::choice: return execute_choice(n);
    case NodeKind::loop: return execute_loop(n);
    case NodeKind::scope: return execute_scope(n);
    case NodeKind::leave_loop: return Flow::leave_loop;
    case NodeKind::next_item: return Flow::next_item;
    case NodeKind::assign: assign(n.a, evaluate(n.b)); break;
    case NodeKind::assign_block: execute_assign_block(n); break;
    case NodeKind::macro:
      scope_->set(n.name, define_macro(static_cast<NodeId>(&n - tree_.nodes.data()), name(n.name)));
      break;
    case NodeKind::call_block: execute_call_block(n); break;
    case NodeKind::filter_block: execute_filter_block(n); break;
    default: runtime_.fail("TypeError", "an expression stands where a statement is wanted");
  }
  return Flow::onward;
}

Evaluator::Flow Evaluator::execute_body(const Node& n) {
  for (NodeId part : n.list) {
    const Flow flow = execute(part);
    if (flow != Flow::onward) return flow;
  }
  return Flow::onward;
}

Evaluator::Flow Evaluator::execute_choice(const Node& n) {
  for (size_t i = 0; i + 1 < n.list.size(); i += 2) {
    if (evaluate(n.list[i]).is_true()) return execute(n.list[i + 1]);
  }
  return n.c != kNoNode ? execute(n.c) : Flow::onward;
}

Evaluator::Flow Evaluator::execute_scope(const Node& n) {
  std::vector<Value> values;  // evaluated outside
  for (size_t i = 1; i < n.list.size(); i += 2) values.push_back(evaluate(n.list[i]));
  const Inside inside(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) assign(n.list[2 * i], std::move(values[i]));
  return execute(n.a);
}

Evaluator::Flow Evaluator::execute_loop(const Node& n) {
  const Value over = evaluate(n.b);
  runtime_.at_line(n.line);
  const auto loop = std::make_shared<ForLoop>(*this, n, over);
  loop->self_ = loop;
  struct End {
    ForLoop& loop;
    ~End() { loop.end(); }
  } const end{*loop};
  bool any = false;
  while (loop->advance()) {
    any = true;
    const Inside inside(*this, scope_);
    assign(n.a, loop->current());
    scope_->set(n.name, std::shared_ptr<Loop>(loop));
    if (execute(n.list[0]) == Flow::leave_loop) break;
  }
  if (any || n.list.size() < 2) return Flow::onward;
  const Inside inside(*this, scope_);
  return execute(n.list[1]);
}

void Evaluator::assign(NodeId id, Value value) {
  const Node& target = node(id);
  if (target.kind == NodeKind::name) {
    scope_->set(target.name, std::move(value));
    return;
  }
  if (target.kind == NodeKind::member) {
    Namespace* names = evaluate_name(target.name).name_space();
    if (names == nullptr)
      runtime_.fail("TemplateRuntimeError", "cannot assign attribute on non-namespace object");
    names->set(runtime_, target.value.text()->bytes, std::move(value));
    return;
  }
  const auto items = iterate(runtime_, value);
  const size_t found = items->items.size(), wanted = target.list.size();
  if (found > wanted) runtime_.fail("ValueError", cat("too many values to unpack (expected ", wanted, ")"));
  if (found < wanted)
    runtime_.fail("ValueError", cat("not enough values to unpack (expected ", wanted, ", got ", found, ")"));
  const Runtime::Level level(runtime_);
  for (size_t i = 0; i < wanted; ++i) assign(target.list[i], items->items[i]);
}

Value Evaluator::capture(NodeId body) {
  TextBuilder inner(runtime_);
  struct Restore {
    TextBuilder*& place;
    TextBuilder* outer;
    ~Restore() { place = outer; }
  } const restore{out_, out_};
  out_ = &inner;
  execute(body);
  return make_text(runtime_, inner.take());
}

Value Evaluator::define_macro(NodeId id, std::string title) {
  for (Scope* scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent) {
    scope->captured = true;
    kept_.reserve(kept_.size() + ++captured_);  // leaving a scope can't fail
    runtime_.hold(sizeof(Scope) + 4 * sizeof(Value));
  }
  runtime_.hold(sizeof(Callable));
  return std::make_shared<const Callable>(Callable{std::move(title), nullptr, id, scope_, {}});
}

void Evaluator::execute_assign_block(const Node& n) {
  Value value;
  {
    const Inside inside(*this, scope_);
    value = capture(n.c);
  }
  if (n.b != kNoNode) value = filtered(n.b, value);
  assign(n.a, std::move(value));
}

/// A chain of filters that begins with none: the text goes in there.
Value Evaluator::filtered(NodeId id, const Value& input) {
  const Runtime::Level level(runtime_);
  const Node& filter = node(id);
  return evaluate_filter(filter, filter.a == kNoNode ? input : filtered(filter.a, input));
}

void Evaluator::execute_filter_block(const Node& n) {
  Value text;
  {
    const Inside inside(*this, scope_);
    text = capture(n.b);
  }
  out_->add(to_string(runtime_, filtered(n.a, text)));
}

/// The body is a macro without a name, which the called one gets as "caller".
void Evaluator::execute_call_block(const Node& n) {
  const Node& what = node(n.a);
  const Value callee = evaluate(what.a);
  Arguments arguments = evaluate_arguments(what);
  arguments.named.emplace_back("caller",
                               define_macro(static_cast<NodeId>(&n - tree_.nodes.data()), "caller"));
  out_->add(to_string(runtime_, call(callee, std::move(arguments))));
}

}  // namespace gptq::jinja
