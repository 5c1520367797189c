// What templates call: filters, tests, functions and methods, each found by its name.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/template_value.h"

namespace gptq::jinja {

/// Null for a name that none has.
Native find_filter(std::string_view name);
Native find_test(std::string_view name);
Native find_function(std::string_view name);
Native find_text_method(std::string_view name);
Native find_container_method(const Value& container, std::string_view name);

/// `object.name` and `object[key]` as Jinja's sandbox answers them: undefined where there is nothing, or nothing that a
/// template may touch. UndefinedError where `object` itself is undefined.
Value get_attribute(Runtime& runtime, const Value& object, std::string_view name);
Value get_item(Runtime& runtime, const Value& object, const Value& key);
/// `object[begin:end:step]`; none or undefined stands for what was left out.
Value get_slice(Runtime& runtime, const Value& object, const Value& begin, const Value& end,
                const Value& step);
/// The items of "a.b.0", one after the other.
Value get_path(Runtime& runtime, Value object, const Value& path, const Value* otherwise = nullptr);

/// a + b and so on; TypeError, or the error of an undefined value.
Value add_values(Runtime& runtime, const Value& a, const Value& b);
Value repeat(Runtime& runtime, const Value& what, int64_t times);
/// int() of a float: ValueError for NaN, OverflowError beyond 64 bits.
int64_t truncated(Runtime& runtime, double value);
/// text % value
Value format_percent(Runtime& runtime, const Text& format, const Value& value);

/// Where an undefined value is used as something: raises its error.
void require_defined(Runtime& runtime, const Value& value);

/// The arguments of a call by the names of its parameters.
class Parameters {
 public:
  Parameters(Runtime& runtime, std::string_view function, const Arguments& arguments,
             std::initializer_list<std::string_view> names, size_t required = 0);

  /// Null for one that was not given.
  const Value* operator[](size_t i) const { return values_[i]; }
  bool flag(size_t i, bool otherwise) const;
  int64_t integer(size_t i, int64_t otherwise) const;
  /// Its text; TypeError for another kind.
  const Text& text(size_t i) const;
  std::optional<std::string_view> maybe_text(size_t i) const;  // none counts as not given

 private:
  Runtime& runtime_;
  std::string_view function_;
  std::vector<const Value*> values_;
};

/// The kinds of calls that a table of natives lists.
struct NativeRow {
  std::string_view name;
  Native native;
};
template <size_t N>
Native find_native(const NativeRow (&rows)[N], std::string_view name) {
  for (const NativeRow& row : rows) {
    if (row.name == name) return row.native;
  }
  return nullptr;
}

}  // namespace gptq::jinja
