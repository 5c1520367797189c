// Attributes, items and slices.
#include <algorithm>

#include "base/text.h"
#include "text/template_library.h"
#include "text/template_loop.h"
#include "text/template_text.h"
#include "text/utf8.h"

namespace gptq::jinja {
namespace {

/// Methods that would change what the template was given.
bool changes_container(const Value& object, std::string_view name) {
  constexpr std::string_view kList[] = {"append", "clear", "pop",    "reverse",
                                        "insert", "sort",  "extend", "remove"};
  constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  const auto in = [name](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  const Sequence* sequence = object.sequence();
  if (sequence != nullptr) return sequence->flavor == Flavor::list && in(kList);
  return object.dict() != nullptr && in(kDict);
}

Value bound(const Value& object, std::string_view name, Native native) {
  return std::make_shared<const Callable>(Callable{std::string(name), native, 0, nullptr, object});
}

/// The attribute that Python's type has; nothing for other names.
std::optional<Value> own_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  const bool internal = name.size() > 4 && name.starts_with("__") && name.ends_with("__");
  if (internal || changes_container(object, name)) {
    return make_undefined(
        cat("access to attribute '", name, "' of '", object.type_name(), "' object is unsafe."),
        "SecurityError");
  }
  Native native = nullptr;
  if (object.is_text()) native = find_text_method(name);
  if (object.sequence() != nullptr || object.dict() != nullptr) native = find_container_method(object, name);
  if (native != nullptr) return bound(object, name, native);
  if (Loop* loop = object.loop()) return loop->attribute(runtime, name);
  if (const Namespace* names = object.name_space()) {
    if (const Value* value = names->find(name)) return *value;
  }
  return std::nullopt;
}

/// Where a slice of `length` items begins and ends, as Python cuts it.
struct Range {
  int64_t begin, end, step;
};

Range slice_range(Runtime& runtime, int64_t length, const Value& begin, const Value& end, const Value& step) {
  const auto given = [](const Value& v) { return !v.is_none() && !v.is_undefined(); };
  for (const Value* value : {&begin, &end, &step}) {
    if (given(*value) && !value->as_integer())
      runtime.fail("TypeError", "slice indices must be integers or None or have an __index__ method");
  }
  const int64_t by = given(step) ? *step.as_integer() : 1;
  if (by == 0) runtime.fail("ValueError", "slice step cannot be zero");
  const int64_t lowest = by > 0 ? 0 : -1, highest = by > 0 ? length : length - 1;
  const auto place = [&](const Value& value, int64_t otherwise) {
    if (!given(value)) return otherwise;
    int64_t at = *value.as_integer();
    if (at < 0) at = at < -length ? lowest : std::max(at + length, lowest);
    return std::min(at, highest);
  };
  return Range{place(begin, by > 0 ? 0 : highest), place(end, by > 0 ? highest : -1), by};
}

/// i, i + step ... up to end, without overflow.
template <class Take>
void walk(const Range& range, const Take& take) {
  for (int64_t i = range.begin; range.step > 0 ? i < range.end : i > range.end;) {
    take(i);
    if (__builtin_add_overflow(i, range.step, &i)) return;
  }
}

Value slice_text(Runtime& runtime, const Text& text, const Range& range) {
  if (range.step == 1) {
    if (range.begin >= range.end) return make_text(runtime, {}, text.markup);
    const size_t from = byte_offset(text, static_cast<size_t>(range.begin));
    const size_t to = byte_offset(text, static_cast<size_t>(range.end));
    runtime.work(text.ascii() ? 1 : to / 32);
    return make_text(runtime, text.bytes.substr(from, to - from), text.markup);
  }
  std::vector<uint32_t> starts;  // of each code point
  runtime.work(text.length);
  runtime.hold(text.length * sizeof(uint32_t));
  for (size_t at = 0; at < text.bytes.size(); at += utf8_sequence_length(text.bytes[at]))
    starts.push_back(static_cast<uint32_t>(at));
  release(runtime.budget(), text.length * sizeof(uint32_t));
  TextBuilder out(runtime);
  walk(range, [&](int64_t i) {
    const size_t at = starts[static_cast<size_t>(i)];
    out.add(std::string_view(text.bytes).substr(at, utf8_sequence_length(text.bytes[at])));
  });
  return make_text(runtime, out.take(), text.markup);
}

Value text_at(Runtime& runtime, const Text& text, int64_t index, const Value& object, const Value& key) {
  const auto length = static_cast<int64_t>(text.length);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return make_missing(object, key);
  runtime.work(text.ascii() ? 1 : static_cast<uint64_t>(index) / 8 + 1);
  const size_t at = byte_offset(text, static_cast<size_t>(index));
  return make_text(runtime, text.bytes.substr(at, utf8_sequence_length(text.bytes[at])), text.markup);
}

}  // namespace

void require_defined(Runtime& runtime, const Value& value) {
  if (!value.is_undefined()) return;
  const Undefined* what = value.undefined();
  if (what == nullptr) runtime.fail("UndefinedError", "value is undefined");
  runtime.fail(what->kind, what->message);
}

Value get_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  runtime.work(1);
  require_defined(runtime, object);
  if (auto own = own_attribute(runtime, object, name)) return std::move(*own);
  if (const Dict* dict = object.dict()) {
    if (const Value* value = dict->find(name)) return *value;
  }
  return make_missing(object, make_text(runtime, std::string(name)));
}

Value get_item(Runtime& runtime, const Value& object, const Value& key) {
  runtime.work(1);
  require_defined(runtime, object);
  const auto index = key.as_integer();
  if (const Dict* dict = object.dict()) {
    const bool hashable =
        key.dict() == nullptr && (key.sequence() == nullptr || key.sequence()->flavor == Flavor::tuple);
    const Value* value = hashable ? dict->find(runtime, key) : nullptr;
    if (value != nullptr) return *value;
  } else if (object.text() != nullptr && index) {
    return text_at(runtime, *object.text(), *index, object, key);
  } else if (const Sequence* s = object.sequence(); s != nullptr && s->indexed() && index) {
    const auto length = static_cast<int64_t>(s->items.size());
    const int64_t at = *index < 0 ? *index + length : *index;
    if (at >= 0 && at < length) return s->items[static_cast<size_t>(at)];
  }
  if (const Text* name = key.text()) {
    if (auto own = own_attribute(runtime, object, name->bytes)) return std::move(*own);
  }
  return make_missing(object, key);
}

Value get_slice(Runtime& runtime, const Value& object, const Value& begin, const Value& end,
                const Value& step) {
  require_defined(runtime, object);
  const Sequence* sequence = object.sequence();
  if (object.dict() != nullptr) runtime.fail("TypeError", "unhashable type: 'slice'");
  if (!object.is_text() && (sequence == nullptr || !sequence->indexed()))
    runtime.fail("TypeError", cat("'", object.type_name(), "' object is not subscriptable"));
  const Range range = slice_range(runtime, *length_of(object), begin, end, step);
  if (const Text* text = object.text()) return slice_text(runtime, *text, range);
  auto out = make_sequence(runtime, sequence->flavor);
  walk(range, [&](int64_t i) { append(runtime, *out, sequence->items[static_cast<size_t>(i)]); });
  return out;
}

Value get_path(Runtime& runtime, Value object, const Value& path, const Value* otherwise) {
  const Text* text = path.text();
  if (path.is_none() || path.is_undefined()) return object;
  const auto step = [&](const Value& key) {
    object = get_item(runtime, object, key);
    if (otherwise != nullptr && !otherwise->is_none() && object.is_undefined()) object = *otherwise;
  };
  if (text == nullptr) {
    step(path);
    return object;
  }
  const std::string_view all = text->bytes;
  for (size_t at = 0; at <= all.size();) {
    const size_t end = std::min(all.find('.', at), all.size());
    const std::string_view part = all.substr(at, end - at);
    const bool number =
        !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == part.npos;
    int64_t index = 0;
    for (char c : number ? part : std::string_view()) index = index * 10 + (c - '0');
    step(number ? Value(index) : make_text(runtime, std::string(part)));
    at = end + 1;
  }
  return object;
}

Parameters::Parameters(Runtime& runtime, std::string_view function, const Arguments& arguments,
                       std::initializer_list<std::string_view> names, size_t required)
    : runtime_(runtime), function_(function), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names.size()) {
    runtime.fail("TypeError", cat(function, "() takes at most ", names.size(), " arguments (",
                                  arguments.positional.size(), " given)"));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto* at = std::find(names.begin(), names.end(), name);
    if (at == names.end())
      runtime.fail("TypeError", cat(function, "() got an unexpected keyword argument '", name, "'"));
    const auto i = static_cast<size_t>(at - names.begin());
    if (values_[i] != nullptr)
      runtime.fail("TypeError", cat(function, "() got multiple values for argument '", name, "'"));
    values_[i] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (values_[i] == nullptr) {
      runtime.fail("TypeError",
                   cat(function, "() missing 1 required positional argument: '", *(names.begin() + i), "'"));
    }
  }
}

bool Parameters::flag(size_t i, bool otherwise) const {
  return values_[i] != nullptr ? values_[i]->is_true() : otherwise;
}

int64_t Parameters::integer(size_t i, int64_t otherwise) const {
  if (values_[i] == nullptr) return otherwise;
  require_defined(runtime_, *values_[i]);
  const auto value = values_[i]->as_integer();
  if (!value) {
    runtime_.fail("TypeError", cat(function_, "(): '", values_[i]->type_name(),
                                   "' object cannot be interpreted as an integer"));
  }
  return *value;
}

const Text& Parameters::text(size_t i) const {
  const Text* text = values_[i] != nullptr ? values_[i]->text() : nullptr;
  if (text == nullptr) {
    runtime_.fail("TypeError", cat(function_, "() argument ", i + 1, " must be str, not ",
                                   values_[i] != nullptr ? values_[i]->type_name() : "NoneType"));
  }
  return *text;
}

std::optional<std::string_view> Parameters::maybe_text(size_t i) const {
  if (values_[i] == nullptr || values_[i]->is_none()) return std::nullopt;
  return text(i).bytes;
}

}  // namespace gptq::jinja
