// Filters of lists, dicts and what else can be looped over.
#include <algorithm>
#include <unordered_set>

#include "base/text.h"
#include "text/template_filters.h"
#include "text/template_library.h"
#include "text/template_operators.h"
#include "text/template_text.h"

namespace gptq::jinja {
namespace {

enum class CaseSensitive : uint8_t { no, yes };

CaseSensitive case_of(const Parameters& p, size_t i) {
  return p.flag(i, false) ? CaseSensitive::yes : CaseSensitive::no;
}

Value without_case(Runtime& runtime, Value value, CaseSensitive sensitive) {
  const Text* text = value.text();
  if (text == nullptr || sensitive == CaseSensitive::yes) return value;
  runtime.work(text->bytes.size());
  return make_text(runtime, change_case(text->bytes, Case::lower));
}

Value pair_of(Runtime& runtime, Value first, Value second) {
  auto pair = make_sequence(runtime, Flavor::tuple);
  append(runtime, *pair, std::move(first));
  append(runtime, *pair, std::move(second));
  return pair;
}

Value length(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "length", arguments, {});
  if (const auto n = length_of(self)) return *n;
  runtime.fail("TypeError", cat("object of type '", self.type_name(), "' has no len()"));
}

Value list(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "list", arguments, {});
  auto out = make_sequence(runtime);
  for (const Value& item : iterate(runtime, self)) append(runtime, *out, item);
  return out;
}

Value first(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "first", arguments, {});
  const auto items = iterate(runtime, self);
  return items->items.empty() ? make_undefined("No first item, sequence was empty.") : items->items.front();
}

Value last(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "last", arguments, {});
  if (self.sequence() != nullptr && self.sequence()->once())
    runtime.fail("TypeError", cat("'", self.type_name(), "' object is not reversible"));
  const auto items = iterate(runtime, self);
  return items->items.empty() ? make_undefined("No last item, sequence was empty.") : items->items.back();
}

Value join(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "join", arguments, {"d", "attribute"});
  const auto items = iterate(runtime, self);
  const std::string between = p[0] != nullptr ? to_string(runtime, *p[0]) : std::string();
  TextBuilder out(runtime);
  for (size_t i = 0; i < items->items.size(); ++i) {
    if (i != 0) out.add(between);
    const Value& item = items->items[i];
    out.add(to_string(runtime, p[1] != nullptr ? get_path(runtime, item, *p[1]) : item));
  }
  return make_text(runtime, out.take());
}

Value items(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "items", arguments, {});
  auto out = make_sequence(runtime, Flavor::generator);
  if (self.is_undefined()) return out;
  if (self.dict() == nullptr) runtime.fail("TypeError", "Can only get item pairs from a mapping.");
  for (const auto& [key, value] : self.dict()->items) append(runtime, *out, pair_of(runtime, key, value));
  return out;
}

using Keyed = std::vector<std::pair<std::vector<Value>, Value>>;  // keys to sort by, and the item

/// Stable, by one key after the other.
void sort_by_keys(Runtime& runtime, Keyed& items, bool reverse) {
  const auto before = [&](const auto& a, const auto& b) {
    for (size_t i = 0; i < a.first.size(); ++i) {
      if (equal(runtime, a.first[i], b.first[i])) continue;
      return compare(runtime, a.first[i], b.first[i], "<") < 0;
    }
    return false;
  };
  if (reverse) std::reverse(items.begin(), items.end());
  std::stable_sort(items.begin(), items.end(), before);
  if (reverse) std::reverse(items.begin(), items.end());
}

Value sorted(Runtime& runtime, const Keyed& items) {
  auto out = make_sequence(runtime);
  for (const auto& item : items) append(runtime, *out, item.second);
  return out;
}

Value dictsort(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "dictsort", arguments, {"case_sensitive", "by", "reverse"});
  require_defined(runtime, self);
  if (self.dict() == nullptr) {
    runtime.fail("AttributeError", cat("'", self.type_name(), "' object has no attribute 'items'"));
  }
  const std::string_view by = p[1] != nullptr ? std::string_view(p.text(1).bytes) : "key";
  if (by != "key" && by != "value")
    runtime.fail("FilterArgumentError", "You can only sort by either \"key\" or \"value\"");
  Keyed keyed;
  for (const auto& [key, value] : self.dict()->items) {
    std::vector<Value> keys = {without_case(runtime, by == "key" ? key : value, case_of(p, 0))};
    keyed.emplace_back(std::move(keys), pair_of(runtime, key, value));
  }
  sort_by_keys(runtime, keyed, p.flag(2, false));
  return sorted(runtime, keyed);
}

Value sort(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "sort", arguments, {"reverse", "case_sensitive", "attribute"});
  std::vector<Value> paths;
  const Text* several = p[2] != nullptr ? p[2]->text() : nullptr;
  if (several != nullptr) {
    for (size_t at = 0; at <= several->bytes.size();) {
      const size_t end = std::min(several->bytes.find(',', at), several->bytes.size());
      paths.push_back(make_text(runtime, several->bytes.substr(at, end - at)));
      at = end + 1;
    }
  } else {
    paths.push_back(p[2] != nullptr ? *p[2] : Value(Value::None{}));
  }
  Keyed keyed;
  const auto all = iterate(runtime, self);
  runtime.hold(all->items.size() * (paths.size() + 2) * sizeof(Value));
  for (const Value& item : all->items) {
    std::vector<Value> keys;
    for (const Value& path : paths)
      keys.push_back(without_case(runtime, get_path(runtime, item, path), case_of(p, 1)));
    keyed.emplace_back(std::move(keys), item);
  }
  sort_by_keys(runtime, keyed, p.flag(0, false));
  release(runtime.budget(), all->items.size() * (paths.size() + 2) * sizeof(Value));
  return sorted(runtime, keyed);
}

Value unique(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "unique", arguments, {"case_sensitive", "attribute"});
  auto out = make_sequence(runtime, Flavor::generator);
  std::unordered_set<std::string> seen;
  const Value none = Value::None{};
  for (const Value& item : iterate(runtime, self)) {
    const Value key =
        without_case(runtime, get_path(runtime, item, p[1] != nullptr ? *p[1] : none), case_of(p, 0));
    if (seen.insert(hash_key(runtime, key)).second) append(runtime, *out, item);
  }
  return out;
}

enum class Extreme : uint8_t { least, greatest };

template <Extreme which>
Value extreme(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "min", arguments, {"case_sensitive", "attribute"});
  const auto all = iterate(runtime, self);
  const Value none = Value::None{};
  Value best = make_undefined("No aggregated item, sequence was empty."), best_key;
  for (size_t i = 0; i < all->items.size(); ++i) {
    Value key = without_case(runtime, get_path(runtime, all->items[i], p[1] != nullptr ? *p[1] : none),
                             case_of(p, 0));
    const std::string_view op = which == Extreme::least ? "<" : ">";
    const int order = i == 0 ? 0 : compare(runtime, key, best_key, op);
    if (i == 0 || (which == Extreme::least ? order < 0 : order > 0)) {
      best = all->items[i];
      best_key = std::move(key);
    }
  }
  return best;
}

Value sum(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "sum", arguments, {"attribute", "start"});
  Value total = p[1] != nullptr ? *p[1] : Value(int64_t{0});
  for (const Value& item : iterate(runtime, self))
    total =
        calculate(runtime, Arithmetic::add, total, p[0] != nullptr ? get_path(runtime, item, *p[0]) : item);
  return total;
}

Value reverse(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "reverse", arguments, {});
  if (self.is_text()) return get_slice(runtime, self, Value::None{}, Value::None{}, int64_t{-1});
  if (!is_iterable(self)) runtime.fail("FilterArgumentError", "argument must be iterable");
  const bool once = self.sequence() != nullptr && self.sequence()->once();
  const auto all = iterate(runtime, self);
  auto out = make_sequence(runtime, once || self.is_undefined() ? Flavor::list : Flavor::reversed);
  for (auto item = all->items.rbegin(); item != all->items.rend(); ++item) append(runtime, *out, *item);
  return out;
}

Value batch(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t size = p.integer(0, 1);
  auto out = make_sequence(runtime, Flavor::generator);
  auto row = make_sequence(runtime);
  for (const Value& item : iterate(runtime, self)) {
    if (static_cast<int64_t>(row->items.size()) == size) {
      append(runtime, *out, row);
      row = make_sequence(runtime);
    }
    append(runtime, *row, item);
  }
  if (row->items.empty()) return out;
  while (p[1] != nullptr && !p[1]->is_none() && static_cast<int64_t>(row->items.size()) < size)
    append(runtime, *row, *p[1]);
  append(runtime, *out, row);
  return out;
}

Value slice(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "slice", arguments, {"slices", "fill_with"}, 1);
  const auto all = iterate(runtime, self);
  const auto count = static_cast<int64_t>(all->items.size()), slices = p.integer(0, 1);
  if (slices == 0) runtime.fail("ZeroDivisionError", "integer division or modulo by zero");
  auto out = make_sequence(runtime, Flavor::generator);
  size_t at = 0;
  for (int64_t i = 0; i < slices; ++i) {
    auto row = make_sequence(runtime);
    const bool longer = i < count % slices;
    for (int64_t n = count / slices + (longer ? 1 : 0); n > 0; --n) append(runtime, *row, all->items[at++]);
    if (p[1] != nullptr && !p[1]->is_none() && !longer) append(runtime, *row, *p[1]);
    append(runtime, *out, row);
  }
  return out;
}

Value groupby(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  Keyed keyed;
  for (const Value& item : iterate(runtime, self)) {
    std::vector<Value> keys = {without_case(runtime, get_path(runtime, item, *p[0], p[1]), case_of(p, 2))};
    keyed.emplace_back(std::move(keys), item);
  }
  sort_by_keys(runtime, keyed, false);
  auto out = make_sequence(runtime);
  for (size_t i = 0; i < keyed.size();) {
    auto group = make_sequence(runtime);
    const size_t begin = i;
    for (; i < keyed.size() && equal(runtime, keyed[i].first[0], keyed[begin].first[0]); ++i)
      append(runtime, *group, keyed[i].second);
    append(runtime, *out, pair_of(runtime, get_path(runtime, keyed[begin].second, *p[0], p[1]), group));
  }
  return out;
}

/// The arguments from number `from` on.
Arguments rest_of(const Arguments& all, size_t from) {
  Arguments rest;
  for (size_t i = from; i < all.positional.size(); ++i) rest.positional.push_back(all.positional[i]);
  rest.named = all.named;
  return rest;
}

Value map(Runtime& runtime, const Value& self, const Arguments& arguments) {
  auto out = make_sequence(runtime, Flavor::generator);
  if (!self.is_true()) return out;
  if (arguments.positional.empty()) {
    const Parameters p(runtime, "map", arguments, {"attribute", "default"});
    if (p[0] == nullptr) runtime.fail("FilterArgumentError", "map requires a filter argument");
    for (const Value& item : iterate(runtime, self))
      append(runtime, *out, get_path(runtime, item, *p[0], p[1]));
    return out;
  }
  const std::string name = to_string(runtime, arguments.positional[0]);
  const Native filter = find_filter(name);
  if (filter == nullptr) runtime.fail("TemplateRuntimeError", cat("No filter named '", name, "'."));
  const Runtime::Level level(runtime);
  const Arguments rest = rest_of(arguments, 1);
  for (const Value& item : iterate(runtime, self)) append(runtime, *out, filter(runtime, item, rest));
  return out;
}

enum class Keep : uint8_t { passing, failing };
enum class Look : uint8_t { at_item, at_attribute };

template <Keep keep, Look look>
Value select(Runtime& runtime, const Value& self, const Arguments& arguments) {
  auto out = make_sequence(runtime, Flavor::generator);
  if (!self.is_true()) return out;
  const size_t off = look == Look::at_attribute ? 1 : 0;
  if (arguments.positional.size() < off)
    runtime.fail("FilterArgumentError", "Missing parameter for attribute name");
  Native test = nullptr;
  if (arguments.positional.size() > off) {
    const std::string name = to_string(runtime, arguments.positional[off]);
    test = find_test(name);
    if (test == nullptr) runtime.fail("TemplateRuntimeError", cat("No test named '", name, "'."));
  }
  const Runtime::Level level(runtime);
  const Arguments rest = rest_of(arguments, off + 1);
  for (const Value& item : iterate(runtime, self)) {
    const Value value = off == 1 ? get_path(runtime, item, arguments.positional[0]) : item;
    const bool passes = test != nullptr ? test(runtime, value, rest).is_true() : value.is_true();
    if (passes == (keep == Keep::passing)) append(runtime, *out, item);
  }
  return out;
}

Value attribute(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "attr", arguments, {"name"}, 1);
  return self.dict() != nullptr && find_container_method(self, p.text(0).bytes) == nullptr
             ? make_missing(self, *p[0])
             : get_attribute(runtime, self, p.text(0).bytes);
}

}  // namespace

Native find_list_filter(std::string_view name) {
  static constexpr NativeRow kRows[] = {
      {"length", length},
      {"count", length},
      {"list", list},
      {"first", first},
      {"last", last},
      {"join", join},
      {"items", items},
      {"dictsort", dictsort},
      {"sort", sort},
      {"unique", unique},
      {"min", extreme<Extreme::least>},
      {"max", extreme<Extreme::greatest>},
      {"sum", sum},
      {"reverse", reverse},
      {"batch", batch},
      {"slice", slice},
      {"groupby", groupby},
      {"map", map},
      {"select", select<Keep::passing, Look::at_item>},
      {"reject", select<Keep::failing, Look::at_item>},
      {"selectattr", select<Keep::passing, Look::at_attribute>},
      {"rejectattr", select<Keep::failing, Look::at_attribute>},
      {"attr", attribute},
  };
  return find_native(kRows, name);
}

}  // namespace gptq::jinja
