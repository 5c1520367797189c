// What values are, and how they are made. How they compare is in template_compare.cpp, how they print in
// template_print.cpp.
#include "text/template_value.h"

#include <algorithm>

#include "base/text.h"
#include "text/template_text.h"
#include "text/utf8.h"

namespace gptq::jinja {
namespace {

constexpr size_t kIndexFrom = 8;  // items of a dict, below which looking through them is faster

template <class T>
auto* pointer_in(const T* held) {
  return held != nullptr ? held->get() : nullptr;
}

int deeper(Runtime& runtime, int depth) {
  if (depth >= kMaxValueDepth) runtime.exceed("makes a value deeper than a template may", kMaxValueDepth);
  return depth + 1;
}

}  // namespace

std::string_view flavor_name(Flavor flavor) {
  constexpr std::string_view kNames[] = {"list",        "tuple",      "range",     "dict_keys",
                                         "dict_values", "dict_items", "generator", "list_reverseiterator"};
  return kNames[static_cast<size_t>(flavor)];
}

const Undefined* Value::undefined() const { return pointer_in(get<std::shared_ptr<const Undefined>>()); }
const Text* Value::text() const { return pointer_in(get<std::shared_ptr<const Text>>()); }
Sequence* Value::sequence() const { return pointer_in(get<std::shared_ptr<Sequence>>()); }
const Dict* Value::dict() const { return pointer_in(get<std::shared_ptr<const Dict>>()); }
const Callable* Value::callable() const { return pointer_in(get<std::shared_ptr<const Callable>>()); }
Loop* Value::loop() const { return pointer_in(get<std::shared_ptr<Loop>>()); }
Namespace* Value::name_space() const {
  const auto* held = get<Namespace*>();
  return held != nullptr ? *held : nullptr;
}

bool Value::is_true() const {
  if (is_undefined() || is_none()) return false;
  if (const auto number = as_number()) return *number != 0;
  if (const Text* t = text()) return !t->bytes.empty();
  if (const Sequence* s = sequence()) return s->once() || !s->items.empty();
  if (const Dict* d = dict()) return !d->items.empty();
  return true;
}

std::optional<int64_t> Value::as_integer() const {
  if (const bool* b = get<bool>()) return int64_t{*b};
  if (const int64_t* i = get<int64_t>()) return *i;
  return std::nullopt;
}

std::optional<double> Value::as_number() const {
  if (const double* d = get<double>()) return *d;
  if (const auto i = as_integer()) return static_cast<double>(*i);
  return std::nullopt;
}

int Value::depth() const {
  if (const Sequence* s = sequence()) return s->depth;
  if (const Dict* d = dict()) return d->depth;
  if (const Callable* c = callable()) return c->self.depth();
  return 0;
}

std::string_view Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (is_bool()) return "bool";
  if (is_integer()) return "int";
  if (is_float()) return "float";
  if (const Text* t = text()) return t->markup == Markup::yes ? "Markup" : "str";
  if (const Sequence* s = sequence()) return flavor_name(s->flavor);
  if (dict() != nullptr) return "dict";
  if (loop() != nullptr) return "LoopContext";
  if (name_space() != nullptr) return "Namespace";
  return callable()->native == nullptr ? "Macro" : "builtin_function_or_method";
}

Text::Text(Budget* budget, std::string text, Markup markup)
    : bytes(std::move(text)), length(code_points(bytes)), markup(markup), budget(budget), held(0) {
  if (budget == nullptr) return;
  held = sizeof(Text) + bytes.size();
}

void Sequence::push(Value value) {
  depth = std::max(depth, value.depth() + 1);
  items.push_back(std::move(value));
}

const Value* Dict::find(std::string_view key) const {
  if (!index_.empty()) {
    const auto at = index_.find(key);
    return at == index_.end() ? nullptr : &items[at->second].second;
  }
  for (const auto& [name, value] : items) {
    const Text* t = name.text();
    if (t != nullptr && t->bytes == key) return &value;
  }
  return nullptr;
}

const Value* Dict::find(Runtime& runtime, const Value& key) const {
  if (const Text* t = key.text()) return find(t->bytes);
  if (key.sequence() != nullptr || key.dict() != nullptr) hash_key(runtime, key);  // fails where Python does
  if (other_keys_ == 0) return nullptr;
  runtime.work(items.size());
  for (const auto& [name, value] : items) {
    if (!name.is_text() && equal(runtime, name, key)) return &value;
  }
  return nullptr;
}

void Dict::set(Runtime& runtime, Value key, Value value) {
  if (const Value* there = find(runtime, key)) {
    depth = std::max(depth, deeper(runtime, value.depth()));
    *const_cast<Value*>(there) = std::move(value);
    return;
  }
  deeper(runtime, std::max(key.depth(), value.depth()));
  runtime.hold(kItemBytes);
  add(std::move(key), std::move(value));
}

void Dict::add(Value key, Value value) {
  depth = std::max(depth, std::max(key.depth(), value.depth()) + 1);
  if (!key.is_text()) ++other_keys_;
  items.emplace_back(std::move(key), std::move(value));
  if (items.size() < kIndexFrom) return;
  for (size_t i = items.size() == kIndexFrom ? 0 : items.size() - 1; i < items.size(); ++i) {
    if (const Text* t = items[i].first.text()) index_.emplace(t->bytes, i);
  }
}

const Value* Namespace::find(std::string_view name) const {
  for (const auto& [known, value] : items) {
    if (known == name) return &value;
  }
  return nullptr;
}

void Namespace::set(Runtime& runtime, std::string_view name, Value value) {
  runtime.work(items.size() + 1);
  if (const Value* there = find(name)) {
    *const_cast<Value*>(there) = std::move(value);
    return;
  }
  runtime.hold(sizeof(items[0]) + name.size());
  items.emplace_back(std::string(name), std::move(value));
}

Value make_text(Runtime& runtime, std::string bytes, Markup markup) {
  if (bytes.size() > kMaxText) runtime.exceed("makes a text of more bytes than a template may", kMaxText);
  runtime.work(1 + bytes.size() / 32);
  runtime.hold(sizeof(Text) + bytes.size());
  return std::make_shared<const Text>(runtime.budget(), std::move(bytes), markup);
}

Value make_undefined(std::string message, std::string_view kind) {
  return std::make_shared<const Undefined>(Undefined{std::move(message), kind});
}

Value make_missing(const Value& object, const Value& key) {
  std::string of = object.is_none() ? "None" : cat(object.type_name(), " object");
  if (const Text* name = key.text())
    return make_undefined(cat("'", of, "' has no attribute '", name->bytes, "'"));
  const auto number = key.as_integer();
  return make_undefined(cat(of, " has no element ", number ? cat(*number) : std::string(key.type_name())));
}

std::shared_ptr<Sequence> make_sequence(Runtime& runtime, Flavor flavor) {
  runtime.work(1);
  return std::make_shared<Sequence>(runtime.budget(), flavor);
}

std::shared_ptr<Dict> make_dict(Runtime& runtime) {
  runtime.work(1);
  return std::make_shared<Dict>(runtime.budget());
}

void append(Runtime& runtime, Sequence& to, Value value) {
  runtime.work(1);
  deeper(runtime, value.depth());
  runtime.hold(sizeof(Value));
  to.push(std::move(value));
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_text() || value.sequence() != nullptr || value.dict() != nullptr;
}

std::optional<int64_t> length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const Text* t = value.text()) return static_cast<int64_t>(t->length);
  if (const Dict* d = value.dict()) return static_cast<int64_t>(d->items.size());
  const Sequence* s = value.sequence();
  if (s != nullptr && !s->once()) return static_cast<int64_t>(s->items.size());
  return std::nullopt;
}

Items iterate(Runtime& runtime, const Value& value) {
  if (const auto* held = value.get<std::shared_ptr<Sequence>>()) {
    Sequence& from = **held;
    if (!from.once() || from.cursor == 0) {
      if (from.once()) from.cursor = from.items.size();
      return Items(*held);
    }
    auto rest = make_sequence(runtime);
    for (; from.cursor < from.items.size(); ++from.cursor) append(runtime, *rest, from.items[from.cursor]);
    return Items(rest);
  }
  auto items = make_sequence(runtime);
  if (const Dict* d = value.dict()) {
    for (const auto& item : d->items) append(runtime, *items, item.first);
  } else if (const Text* t = value.text()) {
    for (size_t at = 0; at < t->bytes.size();) {
      const size_t size = utf8_sequence_length(t->bytes[at]);
      append(runtime, *items, make_text(runtime, t->bytes.substr(at, size), t->markup));
      at += size;
    }
  } else if (!value.is_undefined()) {
    runtime.fail("TypeError", cat("'", value.type_name(), "' object is not iterable"));
  }
  return Items(items);
}

}  // namespace gptq::jinja
