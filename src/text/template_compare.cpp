// How values compare: ==, <, in, and keys of dicts.
#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "text/template_text.h"
#include "text/template_value.h"

namespace gptq::jinja {
namespace {

bool equal_items(Runtime& runtime, const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  return std::all_of(a.items.begin(), a.items.end(), [&](const auto& item) {
    const Value* other = b.find(runtime, item.first);
    return other != nullptr && equal(runtime, item.second, *other);
  });
}

bool equal_items(Runtime& runtime, const Sequence& a, const Sequence& b) {
  if (&a == &b) return true;
  if (a.flavor != b.flavor || a.once() || a.items.size() != b.items.size()) return false;
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(),
                    [&](const Value& x, const Value& y) { return equal(runtime, x, y); });
}

int order(double a, double b) { return a < b ? -1 : a > b ? 1 : 0; }

/// The numbers that a text key or a number key stands for: 1, 1.0 and True are one key.
std::string number_key(double value) { return cat("n", value); }

}  // namespace

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  runtime.work(1);
  if (a.is_number() && b.is_number()) {
    const auto x = a.as_integer(), y = b.as_integer();
    return x && y ? *x == *y : *a.as_number() == *b.as_number();
  }
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() == b.is_undefined();
  if (a.is_none() || b.is_none()) return a.is_none() == b.is_none();
  if (a.text() != nullptr && b.text() != nullptr) {
    runtime.work(a.text()->bytes.size() / 32);
    return a.text()->bytes == b.text()->bytes;
  }
  if (a.sequence() != nullptr && b.sequence() != nullptr)
    return equal_items(runtime, *a.sequence(), *b.sequence());
  if (a.dict() != nullptr && b.dict() != nullptr) return equal_items(runtime, *a.dict(), *b.dict());
  if (a.name_space() != nullptr || a.loop() != nullptr)
    return a.name_space() == b.name_space() && a.loop() == b.loop();
  return a.callable() != nullptr && a.callable() == b.callable();
}

int compare(Runtime& runtime, const Value& a, const Value& b, std::string_view op) {
  runtime.work(1);
  if (a.is_number() && b.is_number()) {
    const auto x = a.as_integer(), y = b.as_integer();
    if (x && y) return *x < *y ? -1 : *x > *y ? 1 : 0;
    return order(*a.as_number(), *b.as_number());
  }
  if (a.text() != nullptr && b.text() != nullptr) {
    runtime.work(std::min(a.text()->bytes.size(), b.text()->bytes.size()) / 32);
    return a.text()->bytes.compare(b.text()->bytes);  // of UTF-8: the order of code points
  }
  const Sequence *s = a.sequence(), *t = b.sequence();
  if (s != nullptr && t != nullptr && s->flavor == t->flavor &&
      (s->flavor == Flavor::list || s->flavor == Flavor::tuple)) {
    for (size_t i = 0; i < std::min(s->items.size(), t->items.size()); ++i) {
      if (!equal(runtime, s->items[i], t->items[i])) return compare(runtime, s->items[i], t->items[i], op);
    }
    return s->items.size() < t->items.size() ? -1 : s->items.size() > t->items.size() ? 1 : 0;
  }
  for (const Value* value : {&a, &b}) {
    if (value->undefined() != nullptr) runtime.fail(value->undefined()->kind, value->undefined()->message);
  }
  runtime.fail("TypeError", cat("'", op, "' not supported between instances of '", a.type_name(), "' and '",
                                b.type_name(), "'"));
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  if (const Text* text = container.text()) {
    const Text* part = item.text();
    if (part == nullptr) {
      runtime.fail("TypeError", cat("'in <string>' requires string as left operand, not ", item.type_name()));
    }
    runtime.work(text->bytes.size() / 32 + 1);
    return find_text(text->bytes, part->bytes, 0) != std::string_view::npos;
  }
  if (const Dict* dict = container.dict()) return dict->find(runtime, item) != nullptr;
  if (container.sequence() != nullptr) {
    const auto items = iterate(runtime, container);
    return std::any_of(items->items.begin(), items->items.end(),
                       [&](const Value& each) { return equal(runtime, each, item); });
  }
  if (container.is_undefined()) return false;
  runtime.fail("TypeError", cat("argument of type '", container.type_name(), "' is not iterable"));
}

std::string hash_key(Runtime& runtime, const Value& value) {
  if (const Text* text = value.text()) {
    runtime.work(text->bytes.size() / 32 + 1);
    return cat("t", text->bytes);
  }
  if (const auto number = value.as_integer()) {
    const auto as_float = static_cast<double>(*number);
    return std::abs(as_float) < 0x1p53 ? number_key(as_float) : cat("i", *number);
  }
  if (const double* number = value.get<double>()) return number_key(*number);
  if (value.is_none()) return "none";
  if (value.is_undefined()) return "undefined";
  const Sequence* sequence = value.sequence();
  if (sequence != nullptr && sequence->flavor == Flavor::tuple) {
    std::string key = "(";
    for (const Value& item : sequence->items) {
      const std::string part = hash_key(runtime, item);
      key += cat(part.size(), ":", part);
      if (key.size() > kMaxText) runtime.exceed("makes a text of more bytes than a template may", kMaxText);
    }
    return key;
  }
  if (sequence != nullptr || value.dict() != nullptr)
    runtime.fail("TypeError", cat("unhashable type: '", value.type_name(), "'"));
  return cat("object", reinterpret_cast<uintptr_t>(value.callable()),
             reinterpret_cast<uintptr_t>(value.name_space()));
}

}  // namespace gptq::jinja
