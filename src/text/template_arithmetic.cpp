// Arithmetic of values.
#include <cmath>

#include "base/text.h"
#include "text/template_library.h"
#include "text/template_operators.h"
#include "text/template_text.h"

namespace gptq::jinja {
namespace {

constexpr std::string_view kSigns[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

[[noreturn]] void overflow(Runtime& runtime) {
  runtime.fail("OverflowError", "a whole number beyond 64 bits");
}

[[noreturn]] void unsupported(Runtime& runtime, Arithmetic op, const Value& a, const Value& b) {
  runtime.fail("TypeError", cat("unsupported operand type(s) for ", kSigns[static_cast<size_t>(op)], ": '",
                                a.type_name(), "' and '", b.type_name(), "'"));
}

int64_t integer_power(Runtime& runtime, int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) overflow(runtime);
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) overflow(runtime);
  }
  return result;
}

Value integers(Runtime& runtime, Arithmetic op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool too_large = false;
  switch (op) {
    case Arithmetic::add: too_large = __builtin_add_overflow(a, b, &out); break;
    case Arithmetic::subtract: too_large = __builtin_sub_overflow(a, b, &out); break;
    case Arithmetic::multiply: too_large = __builtin_mul_overflow(a, b, &out); break;
    case Arithmetic::divide: break;
    case Arithmetic::floor_divide:
    case Arithmetic::modulo: {  // the quotient rounds down, the remainder has the sign of b
      if (b == 0) runtime.fail("ZeroDivisionError", "integer division or modulo by zero");
      if (b == -1) {
        too_large = op == Arithmetic::floor_divide && __builtin_sub_overflow(int64_t{0}, a, &out);
        break;
      }
      const int64_t rest = a % b, down = rest != 0 && (rest < 0) != (b < 0) ? 1 : 0;
      out = op == Arithmetic::floor_divide ? a / b - down : rest + down * b;
      break;
    }
    case Arithmetic::power:
      if (b < 0) return std::pow(static_cast<double>(a), static_cast<double>(b));
      out = integer_power(runtime, a, b);
      break;
  }
  if (too_large) overflow(runtime);
  return out;
}

Value floats(Runtime& runtime, Arithmetic op, double a, double b) {
  const bool divides = op == Arithmetic::divide || op == Arithmetic::floor_divide || op == Arithmetic::modulo;
  if (divides && b == 0) runtime.fail("ZeroDivisionError", "division by zero");
  switch (op) {
    case Arithmetic::add: return a + b;
    case Arithmetic::subtract: return a - b;
    case Arithmetic::multiply: return a * b;
    case Arithmetic::divide: return a / b;
    case Arithmetic::floor_divide: return std::floor(a / b);
    case Arithmetic::modulo: {
      const double rest = std::fmod(a, b);
      return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    }
    case Arithmetic::power: return std::pow(a, b);
  }
  return {};
}

Value joined(Runtime& runtime, const Text& a, const Text& b) {
  const Markup markup = a.markup == Markup::yes || b.markup == Markup::yes ? Markup::yes : Markup::no;
  TextBuilder out(runtime);
  for (const Text* part : {&a, &b}) {
    const bool raw = markup == Markup::yes && part->markup == Markup::no;
    out.add(raw ? escape(runtime, part->bytes) : part->bytes);
  }
  return make_text(runtime, out.take(), markup);
}

bool is_list(const Sequence* s) {
  return s != nullptr && (s->flavor == Flavor::list || s->flavor == Flavor::tuple);
}

}  // namespace

int64_t truncated(Runtime& runtime, double value) {
  if (std::isnan(value)) runtime.fail("ValueError", "cannot convert float NaN to integer");
  if (!(value > -0x1p63 && value < 0x1p63)) overflow(runtime);
  return static_cast<int64_t>(value);
}

Value repeat(Runtime& runtime, const Value& what, int64_t times) {
  if (const Text* text = what.text()) {
    TextBuilder out(runtime);
    out.fill(text->bytes, times);
    return make_text(runtime, out.take(), text->markup);
  }
  const Sequence& sequence = *what.sequence();
  auto out = make_sequence(runtime, sequence.flavor);
  for (int64_t i = 0; i < times && !sequence.items.empty(); ++i) {
    for (const Value& item : sequence.items) append(runtime, *out, item);
  }
  return out;
}

Value calculate(Runtime& runtime, Arithmetic op, const Value& a, const Value& b) {
  runtime.work(1);
  if (op == Arithmetic::modulo && a.is_text()) return format_percent(runtime, *a.text(), b);
  if (a.is_undefined()) require_defined(runtime, a);
  if (b.is_undefined()) require_defined(runtime, b);
  const auto x = a.as_integer(), y = b.as_integer();
  if (x && y && op != Arithmetic::divide) return integers(runtime, op, *x, *y);
  if (a.is_number() && b.is_number()) return floats(runtime, op, *a.as_number(), *b.as_number());
  const Sequence *s = a.sequence(), *t = b.sequence();
  if (op == Arithmetic::add) {
    if (a.is_text() && b.is_text()) return joined(runtime, *a.text(), *b.text());
    if (a.is_text())
      runtime.fail("TypeError", cat("can only concatenate str (not \"", b.type_name(), "\") to str"));
    if (is_list(s) && is_list(t) && s->flavor == t->flavor) {
      auto out = make_sequence(runtime, s->flavor);
      for (const Sequence* part : {s, t}) {
        for (const Value& item : part->items) append(runtime, *out, item);
      }
      return out;
    }
    if (is_list(s)) {
      runtime.fail("TypeError", cat("can only concatenate ", a.type_name(), " (not \"", b.type_name(),
                                    "\") to ", a.type_name()));
    }
  }
  if (op == Arithmetic::multiply) {
    if ((a.is_text() || is_list(s)) && y) return repeat(runtime, a, *y);
    if ((b.is_text() || is_list(t)) && x) return repeat(runtime, b, *x);
    if (a.is_text() || is_list(s))
      runtime.fail("TypeError", cat("can't multiply sequence by non-int of type '", b.type_name(), "'"));
  }
  unsupported(runtime, op, a, b);
}

Value negated(Runtime& runtime, const Value& value) {
  require_defined(runtime, value);
  if (const double* number = value.get<double>()) return -*number;
  const auto integer = value.as_integer();
  int64_t out = 0;
  if (!integer) runtime.fail("TypeError", cat("bad operand type for unary -: '", value.type_name(), "'"));
  if (__builtin_sub_overflow(int64_t{0}, *integer, &out)) overflow(runtime);
  return out;
}

Value concatenated(Runtime& runtime, const std::vector<Value>& parts) {
  TextBuilder out(runtime);
  for (const Value& part : parts) out.add(to_string(runtime, part));
  return make_text(runtime, out.take());
}

}  // namespace gptq::jinja
