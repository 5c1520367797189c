// Filters of texts and numbers. Those of lists are in template_list_filters.cpp.
#include "text/template_filters.h"

#include <charconv>
#include <cmath>

#include "base/text.h"
#include "text/template_json.h"
#include "text/template_library.h"
#include "text/template_text.h"
#include "text/utf8.h"

namespace gptq::jinja {
namespace {

/// soft_str(): markup stays markup.
Value soft_text(Runtime& runtime, const Value& value) {
  return value.is_text() ? value : make_text(runtime, to_string(runtime, value));
}

/// A method of the text that the value prints as.
Value by_method(Runtime& runtime, std::string_view method, const Value& self, const Arguments& arguments) {
  return find_text_method(method)(runtime, soft_text(runtime, self), arguments);
}

Value trim(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return by_method(runtime, "strip", self, arguments);
}
Value upper(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return by_method(runtime, "upper", self, arguments);
}
Value lower(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return by_method(runtime, "lower", self, arguments);
}
Value capitalize(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return by_method(runtime, "capitalize", self, arguments);
}

Value center(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "center", arguments, {"width"});
  Arguments width;
  width.positional.push_back(p[0] != nullptr ? *p[0] : Value(int64_t{80}));
  return by_method(runtime, "center", self, width);
}

/// Words begin after blanks and after - ( { [ <
Value title(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "title", arguments, {});
  const std::string text = to_string(runtime, self);
  runtime.work(text.size());
  TextBuilder out(runtime);
  size_t begin = 0, at = 0;
  const auto put_word = [&](size_t end) {
    if (end == begin) return;
    const std::string_view word = std::string_view(text).substr(begin, end - begin);
    const size_t first = utf8_sequence_length(word[0]);
    out.add(change_case(word.substr(0, first), Case::upper));
    out.add(change_case(word.substr(first), Case::lower));
  };
  while (at < text.size()) {
    const size_t here = at;
    const char32_t c = next_code_point(text, at);
    if (!is_space(c) && c != '-' && c != '(' && c != '{' && c != '[' && c != '<') continue;
    put_word(here);
    out.add(std::string_view(text).substr(here, at - here));
    begin = at;
  }
  put_word(text.size());
  return make_text(runtime, out.take());
}

Value replace(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "replace", arguments, {"old", "new", "count"}, 2);
  Arguments texts;
  texts.positional = {soft_text(runtime, *p[0]), soft_text(runtime, *p[1])};
  if (p[2] != nullptr && !p[2]->is_none()) texts.positional.push_back(*p[2]);
  return by_method(runtime, "replace", make_text(runtime, to_string(runtime, self)), texts);
}

Value as_string(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "string", arguments, {});
  return soft_text(runtime, self);
}

Value safe(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "safe", arguments, {});
  return make_text(runtime, to_string(runtime, self), Markup::yes);
}

Value escaped(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "escape", arguments, {});
  if (self.is_text() && self.text()->markup == Markup::yes) return self;
  return make_text(runtime, escape(runtime, to_string(runtime, self)), Markup::yes);
}

Value defaulted(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "default", arguments, {"default_value", "boolean"});
  if (!self.is_undefined() && (self.is_true() || !p.flag(1, false))) return self;
  return p[0] != nullptr ? *p[0] : make_text(runtime, {});
}

Value tojson(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  if (p.flag(0, false)) style.ascii = JsonAscii::yes;
  if (p[1] != nullptr && !p[1]->is_none()) {
    if (const Text* indent = p[1]->text()) {
      style.indent = indent->bytes;
    } else {
      const int64_t width = p.integer(1, 0);
      if (width > 1000) runtime.exceed("indents JSON by more than", 1000);
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
    style.item_separator = ",";
  }
  if (p[2] != nullptr && !p[2]->is_none()) {
    const auto both = iterate(runtime, *p[2]);
    if (both->items.size() != 2 || !both->items[0].is_text() || !both->items[1].is_text())
      runtime.fail("TypeError", "tojson(): separators wants two texts");
    style.item_separator = both->items[0].text()->bytes;
    style.key_separator = both->items[1].text()->bytes;
  }
  if (p.flag(3, false)) style.keys = JsonKeys::sorted;
  return make_text(runtime, to_json(runtime, self, style));
}

Value indent(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "indent", arguments, {"width", "first", "blank"});
  require_defined(runtime, self);
  if (!self.is_text()) runtime.fail("TypeError", cat("indent() wants a text, not ", self.type_name()));
  const std::string margin = p[0] != nullptr && p[0]->is_text()
                                 ? p[0]->text()->bytes
                                 : repeat(runtime, make_text(runtime, " "), p.integer(0, 4)).text()->bytes;
  const std::string text = self.text()->bytes + "\n";
  runtime.work(text.size());
  TextBuilder out(runtime);
  bool is_first = true;
  for (std::string_view line : split_lines(text, KeepEnds::no)) {
    if (!is_first) out.add("\n");
    if (is_first ? p.flag(1, false) : p.flag(2, false) || !line.empty()) out.add(margin);
    out.add(line);
    is_first = false;
  }
  return make_text(runtime, out.take(), self.text()->markup);
}

Value truncate(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "truncate", arguments, {"length", "killwords", "end", "leeway"});
  const Value text = soft_text(runtime, self);
  const std::string end = p[2] != nullptr ? p.text(2).bytes : "...";
  const int64_t length = p.integer(0, 255), room = length - static_cast<int64_t>(code_points(end));
  if (room < 0)
    runtime.fail("AssertionError", cat("expected length >= ", code_points(end), ", got ", length));
  if (static_cast<int64_t>(text.text()->length) <= length + p.integer(3, 5)) return text;
  std::string cut = text.text()->bytes.substr(0, byte_offset(*text.text(), static_cast<size_t>(room)));
  if (!p.flag(1, false)) {
    if (const size_t blank = cut.rfind(' '); blank != std::string::npos) cut.resize(blank);
  }
  return make_text(runtime, cut + end);
}

Value wordcount(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "wordcount", arguments, {});
  const std::string text = to_string(runtime, self);
  runtime.work(text.size());
  int64_t words = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    const bool is_word = c == '_' || is_alpha(c) || is_numeric(c);
    words += is_word && !inside;
    inside = is_word;
  }
  return words;
}

/// Digits as Python reads them: blanks around, single "_" between, a sign.
std::optional<std::string> plain_digits(std::string_view text) {
  text = strip(text, std::nullopt, Ends::both);
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
    if (text[i] == '+' && i == 0) continue;
    if (text[i] != '_')
      out += text[i];
    else if (i == 0 || !digit(i - 1) || !digit(i + 1))
      return std::nullopt;
  }
  if (out.starts_with('-') && text.starts_with('+')) return std::nullopt;
  return out;
}

std::optional<double> read_float(std::string_view text) {
  const auto digits = plain_digits(text);
  if (!digits || digits->empty()) return std::nullopt;
  double value = 0;
  const auto result = std::from_chars(digits->data(), digits->data() + digits->size(), value);
  if (result.ptr != digits->data() + digits->size()) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range)
    return digits->find("e-") != std::string::npos ? 0.0 : HUGE_VAL * (digits->front() == '-' ? -1 : 1);
  return result.ec == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> read_integer(std::string_view text, int64_t base) {
  const auto digits = plain_digits(text);
  if (!digits) return std::nullopt;
  const bool negative = digits->starts_with('-');
  std::string_view rest = std::string_view(*digits).substr(negative ? 1 : 0);
  if (base == 16 && (rest.starts_with("0x") || rest.starts_with("0X"))) rest.remove_prefix(2);
  const std::string all = (negative ? "-" : "") + std::string(rest);
  int64_t value = 0;
  const auto result = std::from_chars(all.data(), all.data() + all.size(), value, static_cast<int>(base));
  if (rest.empty() || rest[0] == '-' || result.ec != std::errc() || result.ptr != all.data() + all.size())
    return std::nullopt;
  return value;
}

Value to_integer(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "int", arguments, {"default", "base"});
  require_defined(runtime, self);
  const Value otherwise = p[0] != nullptr ? *p[0] : Value(int64_t{0});
  const int64_t base = p.integer(1, 10);
  if (base < 2 || base > 36) return otherwise;
  if (const auto integer = self.as_integer()) return *integer;
  std::optional<double> number = self.as_number();
  if (const Text* text = self.text()) {
    if (const auto integer = read_integer(text->bytes, base)) return *integer;
    number = read_float(text->bytes);
  }
  if (!number || !std::isfinite(*number)) return otherwise;
  return truncated(runtime, *number);
}

Value to_float(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "float", arguments, {"default"});
  require_defined(runtime, self);
  if (const auto number = self.as_number()) return *number;
  if (const Text* text = self.text()) {
    if (const auto number = read_float(text->bytes)) return *number;
  }
  return p[0] != nullptr ? *p[0] : Value(0.0);
}

Value absolute(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "abs", arguments, {});
  if (const double* number = self.get<double>()) return std::fabs(*number);
  const auto integer = self.as_integer();
  if (!integer) {
    require_defined(runtime, self);
    runtime.fail("TypeError", cat("bad operand type for abs(): '", self.type_name(), "'"));
  }
  if (*integer == INT64_MIN) runtime.fail("OverflowError", "a whole number beyond 64 bits");
  return std::abs(*integer);
}

/// To so many digits behind the point, ties to even, as the exact value of the number has it.
double round_to(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 400) return value;
  if (digits < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-digits));
    return std::isfinite(unit) ? std::nearbyint(value / unit) * unit : 0.0;
  }
  char buffer[800];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, static_cast<int>(digits))
          .ptr;
  double rounded = value;
  std::from_chars(buffer, end, rounded);
  return rounded;
}

Value rounded(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "round", arguments, {"precision", "method"});
  const int64_t digits = p.integer(0, 0);
  const std::string_view method = p[1] != nullptr ? std::string_view(p.text(1).bytes) : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    runtime.fail("FilterArgumentError", "method must be common, ceil or floor");
  const auto number = self.as_number();
  if (!number) {
    require_defined(runtime, self);
    runtime.fail("TypeError", cat("type ", self.type_name(), " doesn't define __round__ method"));
  }
  if (method == "common") {
    if (self.as_integer() && digits >= 0) return *self.as_integer();
    const double result = round_to(*number, digits);
    return self.as_integer() ? Value(truncated(runtime, result)) : Value(result);
  }
  const double unit = std::pow(10.0, static_cast<double>(digits));
  return (method == "ceil" ? std::ceil(*number * unit) : std::floor(*number * unit)) / unit;
}

Value formatted(Runtime& runtime, const Value& self, const Arguments& arguments) {
  Value values;
  if (!arguments.named.empty()) {
    auto dict = make_dict(runtime);
    for (const auto& [name, value] : arguments.named) dict->set(runtime, make_text(runtime, name), value);
    values = dict;
  } else {
    auto tuple = make_sequence(runtime, Flavor::tuple);
    for (const Value& value : arguments.positional) append(runtime, *tuple, value);
    values = tuple;
  }
  return format_percent(runtime, *soft_text(runtime, self).text(), values);
}

}  // namespace

Native find_filter(std::string_view name) {
  static constexpr NativeRow kRows[] = {
      {"tojson", tojson},       {"trim", trim},           {"upper", upper},
      {"lower", lower},         {"title", title},         {"capitalize", capitalize},
      {"string", as_string},    {"safe", safe},           {"escape", escaped},
      {"e", escaped},           {"forceescape", escaped}, {"default", defaulted},
      {"d", defaulted},         {"replace", replace},     {"indent", indent},
      {"int", to_integer},      {"float", to_float},      {"abs", absolute},
      {"round", rounded},       {"format", formatted},    {"truncate", truncate},
      {"wordcount", wordcount}, {"center", center},
  };
  const Native native = find_native(kRows, name);
  return native != nullptr ? native : find_list_filter(name);
}

}  // namespace gptq::jinja
