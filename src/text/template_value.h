// Values of a chat template, which are Python's: numbers, texts, lists and dicts, and what can be called.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "text/template_runtime.h"

namespace gptq::jinja {

struct Callable;
struct Dict;
struct Loop;
struct Namespace;
struct Scope;
struct Sequence;
struct Text;

/// A name, attribute or item that is not there: prints as nothing, is false, and refuses most other uses.
struct Undefined {
  std::string message;                       // what such a use is answered with
  std::string_view kind = "UndefinedError";  // as Python names the exception
};

/// Texts, lists and dicts never change once they are made, so that values share them. Namespaces do, and belong to the
/// rendering: no value keeps one alive, and none is part of a cycle of owners.
class Value {
 public:
  struct None {};
  using Data =
      std::variant<std::shared_ptr<const Undefined>, None, bool, int64_t, double, std::shared_ptr<const Text>,
                   std::shared_ptr<Sequence>, std::shared_ptr<const Dict>, std::shared_ptr<const Callable>,
                   std::shared_ptr<Loop>, Namespace*>;

  Value() = default;  // undefined, without a word
  Value(None none) : data_(none) {}
  Value(bool value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  template <class T>
  requires std::is_constructible_v<Data, T> Value(T value) : data_(std::move(value)) {}
  Value(const char*) = delete;  // would be a bool

  template <class T>
  const T* get() const {
    return std::get_if<T>(&data_);
  }
  bool is_undefined() const { return data_.index() == 0; }
  bool is_none() const { return get<None>() != nullptr; }
  bool is_bool() const { return get<bool>() != nullptr; }
  bool is_integer() const { return get<int64_t>() != nullptr; }  // bool excluded
  bool is_float() const { return get<double>() != nullptr; }
  bool is_number() const { return is_integer() || is_float() || is_bool(); }
  bool is_text() const { return get<std::shared_ptr<const Text>>() != nullptr; }

  // null for another kind
  const Undefined* undefined() const;
  const Text* text() const;
  Sequence* sequence() const;
  const Dict* dict() const;
  const Callable* callable() const;
  Loop* loop() const;
  Namespace* name_space() const;

  bool is_true() const;  // as Python's bool()
  /// bool and int as an integer.
  std::optional<int64_t> as_integer() const;
  /// bool, int and float.
  std::optional<double> as_number() const;
  int depth() const;  // 1 + that of the deepest child; 0 of scalars
  /// Python's name of the type: "NoneType", "str", "dict_items".
  std::string_view type_name() const;

 private:
  Data data_;
};

enum class Markup : uint8_t { no, yes };  // made by the filter "safe": texts joined with it are escaped

/// Valid UTF-8.
struct Text {
  Text(Budget* budget, std::string bytes, Markup markup);
  ~Text() { release(budget, held); }
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;

  bool ascii() const { return length == bytes.size(); }

  std::string bytes;
  size_t length;  // in code points
  Markup markup;
  Budget* budget;
  size_t held;
};

/// Which of Python's sequences and iterators it is.
enum class Flavor : uint8_t { list, tuple, range, dict_keys, dict_values, dict_items, generator, reversed };

std::string_view flavor_name(Flavor flavor);

struct Sequence {
  Sequence(Budget* budget, Flavor flavor) : flavor(flavor), budget(budget) {}
  ~Sequence() { release(budget, items.size() * sizeof(Value)); }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  void push(Value value);  // while it is being made; see append()
  bool once() const { return flavor == Flavor::generator || flavor == Flavor::reversed; }
  bool indexed() const {
    return flavor == Flavor::list || flavor == Flavor::tuple || flavor == Flavor::range;
  }

  std::vector<Value> items;
  Flavor flavor;
  std::string label;  // what a range prints as, where its items do not tell
  int depth = 1;
  size_t cursor = 0;  // of an iterator, which gives each item once
  Budget* budget;
};

struct Dict {
  explicit Dict(Budget* budget) : budget(budget) {}
  ~Dict() { release(budget, items.size() * kItemBytes); }
  Dict(const Dict&) = delete;
  Dict& operator=(const Dict&) = delete;

  const Value* find(std::string_view key) const;
  const Value* find(Runtime& runtime, const Value& key) const;
  /// While it is being made: replaces the value of a key that is there.
  void set(Runtime& runtime, Value key, Value value);
  /// Of a key that is not there yet, a text.
  void add(Value key, Value value);

  static constexpr size_t kItemBytes = 2 * sizeof(Value) + 64;

  std::vector<std::pair<Value, Value>> items;  // in the order of insertion
  int depth = 1;
  Budget* budget;

 private:
  std::unordered_map<std::string_view, size_t> index_;  // of text keys, where there are many items
  size_t other_keys_ = 0;                               // keys that are no text
};

/// namespace(): the one thing that assignments inside loops can change for what comes after them.
struct Namespace {
  const Value* find(std::string_view name) const;
  void set(Runtime& runtime, std::string_view name, Value value);

  std::vector<std::pair<std::string, Value>> items;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// A filter, test, function or method. `self` is the value before the "|", "is" or ".".
using Native = Value (*)(Runtime& runtime, const Value& self, const Arguments& arguments);

struct Callable {
  std::string name;
  Native native = nullptr;  // else a macro:
  uint32_t node = 0;        // its definition
  Scope* scope = nullptr;   // where it was defined
  Value self;
};

Value make_text(Runtime& runtime, std::string bytes, Markup markup = Markup::no);
Value make_undefined(std::string message, std::string_view kind = "UndefinedError");
/// "'dict object' has no attribute 'x'"
Value make_missing(const Value& object, const Value& key);
std::shared_ptr<Sequence> make_sequence(Runtime& runtime, Flavor flavor = Flavor::list);
std::shared_ptr<Dict> make_dict(Runtime& runtime);
void append(Runtime& runtime, Sequence& to, Value value);

/// Items to loop over, which live as long.
class Items {
 public:
  Items(std::shared_ptr<const Sequence> sequence) : sequence_(std::move(sequence)) {}
  const Sequence* operator->() const { return sequence_.get(); }
  auto begin() const { return sequence_->items.begin(); }
  auto end() const { return sequence_->items.end(); }

 private:
  std::shared_ptr<const Sequence> sequence_;
};

/// What a loop over `value` gives, each item once; TypeError for what can't be looped over. An iterator is used up.
Items iterate(Runtime& runtime, const Value& value);
bool is_iterable(const Value& value);
/// len(): nothing for what has none.
std::optional<int64_t> length_of(const Value& value);

bool equal(Runtime& runtime, const Value& a, const Value& b);
/// Less than 0, 0 or more; TypeError, naming `op`, for what has no order.
int compare(Runtime& runtime, const Value& a, const Value& b, std::string_view op);
/// `item in container`
bool contains(Runtime& runtime, const Value& container, const Value& item);
/// A text that equal values share; TypeError for a list or dict.
std::string hash_key(Runtime& runtime, const Value& value);

/// What str() and repr() of Python print.
std::string to_string(Runtime& runtime, const Value& value);
std::string repr(Runtime& runtime, const Value& value);
std::string float_repr(double value);

}  // namespace gptq::jinja
