// What can stand after "is".
#include "base/text.h"
#include "text/template_library.h"
#include "text/template_operators.h"
#include "text/template_text.h"

namespace gptq::jinja {
namespace {

template <auto test>  // bool (Runtime&, const Value&)
Value plain(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "test", arguments, {});
  return test(runtime, self);
}

template <Comparison op>
Value compared(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "test", arguments, {"other"}, 1);
  switch (op) {
    case Comparison::equal: return equal(runtime, self, *p[0]);
    case Comparison::not_equal: return !equal(runtime, self, *p[0]);
    case Comparison::less: return compare(runtime, self, *p[0], "<") < 0;
    case Comparison::less_equal: return compare(runtime, self, *p[0], "<=") <= 0;
    case Comparison::greater: return compare(runtime, self, *p[0], ">") > 0;
    case Comparison::greater_equal: return compare(runtime, self, *p[0], ">=") >= 0;
    case Comparison::in: return contains(runtime, *p[0], self);
    case Comparison::not_in: break;
  }
  return !contains(runtime, *p[0], self);
}

/// value % divisor == rest
bool leaves(Runtime& runtime, const Value& value, const Value& divisor, int64_t rest) {
  return equal(runtime, calculate(runtime, Arithmetic::modulo, value, divisor), rest);
}

Value divisible_by(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "divisibleby", arguments, {"num"}, 1);
  return leaves(runtime, self, *p[0], 0);
}

Value same_as(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "sameas", arguments, {"other"}, 1);
  return self.type_name() == p[0]->type_name() && equal(runtime, self, *p[0]);
}

Value is_filter(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "filter", arguments, {});
  return self.text() != nullptr && find_filter(self.text()->bytes) != nullptr;
}

Value is_test(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "test", arguments, {});
  return self.text() != nullptr && find_test(self.text()->bytes) != nullptr;
}

bool is_cased_as(Runtime& runtime, const Value& self, std::string_view method) {
  const Value text = make_text(runtime, to_string(runtime, self));
  return find_text_method(method)(runtime, text, {}).is_true();
}

bool is_sequence(const Value& v) {
  const Sequence* s = v.sequence();
  return v.is_text() || v.dict() != nullptr || v.is_undefined() || (s != nullptr && s->indexed());
}

}  // namespace

Native find_test(std::string_view name) {
  static constexpr NativeRow kRows[] = {
      {"defined", plain<[](Runtime&, const Value& v) { return !v.is_undefined(); }>},
      {"undefined", plain<[](Runtime&, const Value& v) { return v.is_undefined(); }>},
      {"none", plain<[](Runtime&, const Value& v) { return v.is_none(); }>},
      {"string", plain<[](Runtime&, const Value& v) { return v.is_text(); }>},
      {"mapping", plain<[](Runtime&, const Value& v) { return v.dict() != nullptr; }>},
      {"sequence", plain<[](Runtime&, const Value& v) { return is_sequence(v); }>},
      {"iterable", plain<[](Runtime&, const Value& v) { return is_iterable(v) || v.loop() != nullptr; }>},
      {"boolean", plain<[](Runtime&, const Value& v) { return v.is_bool(); }>},
      {"true", plain<[](Runtime&, const Value& v) { return v.is_bool() && v.is_true(); }>},
      {"false", plain<[](Runtime&, const Value& v) { return v.is_bool() && !v.is_true(); }>},
      {"integer", plain<[](Runtime&, const Value& v) { return v.is_integer(); }>},
      {"float", plain<[](Runtime&, const Value& v) { return v.is_float(); }>},
      {"number", plain<[](Runtime&, const Value& v) { return v.is_number(); }>},
      {"callable",
       plain<[](Runtime&, const Value& v) { return v.callable() != nullptr || v.is_undefined(); }>},
      {"lower", plain<[](Runtime& r, const Value& v) { return is_cased_as(r, v, "islower"); }>},
      {"upper", plain<[](Runtime& r, const Value& v) { return is_cased_as(r, v, "isupper"); }>},
      {"odd", plain<[](Runtime& r, const Value& v) { return leaves(r, v, int64_t{2}, 1); }>},
      {"even", plain<[](Runtime& r, const Value& v) { return leaves(r, v, int64_t{2}, 0); }>},
      {"escaped", plain<[](Runtime&, const Value& v) {
         return v.text() != nullptr && v.text()->markup == Markup::yes;
       }>},
      {"divisibleby", divisible_by},
      {"sameas", same_as},
      {"filter", is_filter},
      {"test", is_test},
      {"in", compared<Comparison::in>},
      {"==", compared<Comparison::equal>},
      {"eq", compared<Comparison::equal>},
      {"equalto", compared<Comparison::equal>},
      {"!=", compared<Comparison::not_equal>},
      {"ne", compared<Comparison::not_equal>},
      {"<", compared<Comparison::less>},
      {"lt", compared<Comparison::less>},
      {"lessthan", compared<Comparison::less>},
      {"<=", compared<Comparison::less_equal>},
      {"le", compared<Comparison::less_equal>},
      {">", compared<Comparison::greater>},
      {"gt", compared<Comparison::greater>},
      {"greaterthan", compared<Comparison::greater>},
      {">=", compared<Comparison::greater_equal>},
      {"ge", compared<Comparison::greater_equal>},
  };
  return find_native(kRows, name);
}

}  // namespace gptq::jinja
