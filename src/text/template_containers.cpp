// The methods of lists and dicts that templates may call: those that change nothing.
#include <algorithm>

#include "base/text.h"
#include "text/template_library.h"

namespace gptq::jinja {
namespace {

Value view(Runtime& runtime, const Dict& dict, Flavor flavor) {
  auto out = make_sequence(runtime, flavor);
  for (const auto& [key, value] : dict.items) {
    if (flavor == Flavor::dict_items) {
      auto pair = make_sequence(runtime, Flavor::tuple);
      append(runtime, *pair, key);
      append(runtime, *pair, value);
      append(runtime, *out, std::move(pair));
    } else {
      append(runtime, *out, flavor == Flavor::dict_keys ? key : value);
    }
  }
  return out;
}

template <Flavor flavor>
Value dict_view(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, flavor_name(flavor), arguments, {});
  return view(runtime, *self.dict(), flavor);
}

Value dict_get(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "get", arguments, {"key", "default"}, 1);
  if (!arguments.named.empty()) runtime.fail("TypeError", "dict.get() takes no keyword arguments");
  const Value* found = self.dict()->find(runtime, *p[0]);
  if (found != nullptr) return *found;
  return p[1] != nullptr ? *p[1] : Value(Value::None{});
}

Value itself(Runtime& runtime, const Value& self,
             const Arguments& arguments) {  // copy() of what never changes
  const Parameters p(runtime, "copy", arguments, {});
  return self;
}

Value list_index(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "index", arguments, {"value"}, 1);
  const auto& items = self.sequence()->items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (equal(runtime, items[i], *p[0])) return static_cast<int64_t>(i);
  }
  runtime.fail("ValueError", cat(repr(runtime, *p[0]), " is not in ", self.type_name()));
}

Value list_count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "count", arguments, {"value"}, 1);
  const auto& items = self.sequence()->items;
  return static_cast<int64_t>(std::count_if(items.begin(), items.end(),
                                            [&](const Value& item) { return equal(runtime, item, *p[0]); }));
}

}  // namespace

Native find_container_method(const Value& container, std::string_view name) {
  static constexpr NativeRow kDict[] = {{"items", dict_view<Flavor::dict_items>},
                                        {"keys", dict_view<Flavor::dict_keys>},
                                        {"values", dict_view<Flavor::dict_values>},
                                        {"get", dict_get},
                                        {"copy", itself}};
  static constexpr NativeRow kList[] = {{"index", list_index}, {"count", list_count}, {"copy", itself}};
  if (container.dict() != nullptr) return find_native(kDict, name);
  const Flavor flavor = container.sequence()->flavor;
  if (flavor == Flavor::list || (container.sequence()->indexed() && name != "copy"))
    return find_native(kList, name);
  return nullptr;
}

}  // namespace gptq::jinja
