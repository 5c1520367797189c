// "{} {name!r:>10}".format(...) and "%s" % value, as Python formats them.
#include <array>
#include <charconv>
#include <cmath>

#include "base/text.h"
#include "text/template_library.h"
#include "text/template_text.h"
#include "text/utf8.h"

namespace gptq::jinja {
namespace {

/// [[fill]align][sign][#][0][width][,][.precision][type]
struct Spec {
  std::string fill = " ";
  char align = '\0', sign = '-', type = '\0', grouping = '\0';
  bool zero = false;
  int64_t width = 0, precision = -1;
};

int64_t read_number(Runtime& runtime, std::string_view text, size_t& at, int64_t otherwise) {
  int64_t value = 0;
  const size_t begin = at;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    value = value * 10 + (text[at] - '0');
    if (value > static_cast<int64_t>(kMaxText)) runtime.exceed("formats with a width above", kMaxText);
  }
  return at == begin ? otherwise : value;
}

Spec read_spec(Runtime& runtime, std::string_view text) {
  constexpr std::string_view kAligns = "<>^=";
  Spec spec;
  size_t at = 0;
  const size_t first = text.empty() ? 0 : utf8_sequence_length(text[0]);
  if (first < text.size() && kAligns.find(text[first]) != kAligns.npos) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    at = first + 1;
  } else if (!text.empty() && kAligns.find(text[0]) != kAligns.npos) {
    spec.align = text[0];
    at = 1;
  }
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) spec.sign = text[at++];
  if (at < text.size() && text[at] == '0') {
    spec.zero = true;
    ++at;
  }
  spec.width = read_number(runtime, text, at, 0);
  if (at < text.size() && (text[at] == ',' || text[at] == '_')) spec.grouping = text[at++];
  if (at < text.size() && text[at] == '.') {
    ++at;
    spec.precision = read_number(runtime, text, at, -1);
    if (spec.precision < 0) runtime.fail("ValueError", "Format specifier missing precision");
  }
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size()) runtime.fail("ValueError", "Invalid format specifier");
  return spec;
}

std::string number_text(Runtime& runtime, double value, char type, int64_t precision) {
  if (!std::isfinite(value)) return float_repr(value);
  if (precision > 1000) runtime.exceed("formats with a precision above", 1000);
  std::vector<char> buffer(400 + static_cast<size_t>(std::max<int64_t>(precision, 0)));
  const auto format = type == 'e' || type == 'E'   ? std::chars_format::scientific
                      : type == 'g' || type == 'G' ? std::chars_format::general
                                                   : std::chars_format::fixed;
  const int digits = precision < 0 ? 6 : static_cast<int>(precision);
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format, digits).ptr;
  return std::string(buffer.data(), end);
}

std::string integer_text(int64_t value, int base) {
  std::array<char, 72> buffer;
  return std::string(buffer.data(),
                     std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, base).ptr);
}

std::string grouped(std::string digits, char mark) {
  size_t end = digits.find_first_of(".e");
  if (end == std::string::npos) end = digits.size();
  for (size_t at = end; at > 3 && (at -= 3) > (digits[0] == '-' ? 1U : 0U);) digits.insert(at, 1, mark);
  return digits;
}

/// The digits of a number, with its "-" if it has one.
std::string number_digits(Runtime& runtime, const Value& value, const Spec& spec) {
  const auto integer = value.as_integer();
  const char type = spec.type;
  if (type == '%') return number_text(runtime, *value.as_number() * 100, 'f', spec.precision) + "%";
  if (integer && (type == '\0' || type == 'd' || type == 'n')) return cat(*integer);
  if (integer && (type == 'x' || type == 'X')) return integer_text(*integer, 16);
  if (integer && type == 'o') return integer_text(*integer, 8);
  if (integer && type == 'b') return integer_text(*integer, 2);
  if (type == '\0')
    return spec.precision < 0 ? float_repr(*value.as_number())
                              : number_text(runtime, *value.as_number(), 'g', spec.precision);
  if (std::string_view("eEfFgG").find(type) != std::string_view::npos)
    return number_text(runtime, *value.as_number(), type, spec.precision);
  runtime.fail("ValueError",
               cat("Unknown format code '", type, "' for object of type '", value.type_name(), "'"));
}

std::string format_value(Runtime& runtime, const Value& value, std::string_view spec_text) {
  if (spec_text.empty()) return to_string(runtime, value);
  Spec spec = read_spec(runtime, spec_text);
  const bool number = value.is_number() && !(value.is_bool() && spec.type == '\0');
  if (!number && !value.is_text() && !value.is_bool()) {
    runtime.fail("TypeError", cat("unsupported format string passed to ", value.type_name(), ".__format__"));
  }
  std::string text;
  if (number) {
    text = number_digits(runtime, value, spec);
    if (spec.grouping != '\0') text = grouped(std::move(text), spec.grouping);
    if (spec.sign != '-' && !text.starts_with('-')) text.insert(0, 1, spec.sign);
    if (spec.type == 'X' || spec.type == 'E' || spec.type == 'G') text = change_case(text, Case::upper);
  } else {
    if (spec.type != '\0' && spec.type != 's') {
      runtime.fail("ValueError",
                   cat("Unknown format code '", spec.type, "' for object of type '", value.type_name(), "'"));
    }
    text = to_string(runtime, value);
    if (spec.precision >= 0) {
      size_t at = 0;
      for (int64_t i = 0; i < spec.precision && at < text.size(); ++i) at += utf8_sequence_length(text[at]);
      text.resize(at);
    }
  }
  if (spec.zero && spec.align == '\0') {
    spec.fill = "0";
    if (number) spec.align = '=';
  }
  const char align = spec.align != '\0' ? spec.align : number ? '>' : '<';
  const int64_t room = std::max<int64_t>(spec.width - static_cast<int64_t>(code_points(text)), 0);
  TextBuilder out(runtime);
  size_t sign = 0;
  if (align == '=' && !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ')) sign = 1;
  const int64_t before = align == '<' ? 0 : align == '^' ? room / 2 : room;
  out.add(std::string_view(text).substr(0, sign));
  out.fill(spec.fill, before);
  out.add(std::string_view(text).substr(sign));
  out.fill(spec.fill, room - before);
  return out.take();
}

/// The fields of one format text.
class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, const Arguments& arguments) : runtime_(runtime), arguments_(arguments) {}

  std::string run(std::string_view text) {
    TextBuilder out(runtime_);
    for (size_t at = 0; at < text.size();) {
      const size_t brace = std::min(text.find_first_of("{}", at), text.size());
      out.add(text.substr(at, brace - at));
      if (brace == text.size()) break;
      if (brace + 1 < text.size() && text[brace + 1] == text[brace]) {
        out.add(text.substr(brace, 1));
        at = brace + 2;
        continue;
      }
      if (text[brace] == '}') runtime_.fail("ValueError", "Single '}' encountered in format string");
      const size_t end = text.find('}', brace);
      if (end == text.npos) runtime_.fail("ValueError", "expected '}' before end of string");
      out.add(field(text.substr(brace + 1, end - brace - 1)));
      at = end + 1;
    }
    return out.take();
  }

 private:
  std::string field(std::string_view text) {
    if (text.find('{') != text.npos)
      runtime_.unsupported("a field inside a field of a format is not known here");
    const size_t colon = std::min(text.find(':'), text.size());
    const std::string_view spec = colon < text.size() ? text.substr(colon + 1) : std::string_view();
    std::string_view name = text.substr(0, colon);
    char conversion = '\0';
    if (const size_t mark = name.find('!'); mark != name.npos) {
      conversion = mark + 1 < name.size() ? name[mark + 1] : '?';
      name = name.substr(0, mark);
    }
    Value value = resolve(name);
    if (conversion == 'r')
      value = make_text(runtime_, repr(runtime_, value));
    else if (conversion == 's')
      value = make_text(runtime_, to_string(runtime_, value));
    else if (conversion != '\0')
      runtime_.fail("ValueError", "Unknown conversion specifier");
    return format_value(runtime_, value, spec);
  }

  Value resolve(std::string_view name) {
    if (name.empty())
      count_by(Numbering::automatic);
    else if (name.find_first_not_of("0123456789") == name.npos)
      count_by(Numbering::manual);
    const size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = first(name.substr(0, end));
    for (size_t at = end; at < name.size();) {
      const bool item = name[at] == '[';
      const size_t stop = item ? name.find(']', at) : std::min(name.find_first_of(".[", at + 1), name.size());
      if (stop == name.npos) runtime_.fail("ValueError", "Missing ']' in format string");
      const std::string_view part = name.substr(at + 1, stop - at - 1);
      size_t digits = 0;
      const int64_t index = item ? read_number(runtime_, part, digits, -1) : -1;
      if (item)
        value = get_item(
            runtime_, value,
            index >= 0 && digits == part.size() ? Value(index) : make_text(runtime_, std::string(part)));
      else
        value = get_attribute(runtime_, value, part);
      at = item ? stop + 1 : stop;
    }
    return value;
  }

  Value first(std::string_view name) {
    size_t at = 0;
    int64_t index = read_number(runtime_, name, at, -1);
    if (name.empty()) index = next_++;
    if (name.empty() || (index >= 0 && at == name.size())) {
      if (index < static_cast<int64_t>(arguments_.positional.size()))
        return arguments_.positional[static_cast<size_t>(index)];
      runtime_.fail("IndexError",
                    cat("Replacement index ", index, " out of range for positional args tuple"));
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    runtime_.fail("KeyError", cat("'", name, "'"));
  }

  enum class Numbering : uint8_t { none, automatic, manual };

  void count_by(Numbering how) {
    if (numbering_ != Numbering::none && numbering_ != how)
      runtime_.fail("ValueError", "cannot switch between automatic and manual field numbering");
    numbering_ = how;
  }

  Runtime& runtime_;
  const Arguments& arguments_;
  Numbering numbering_ = Numbering::none;
  int64_t next_ = 0;
};

}  // namespace

Value format_braces(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return make_text(runtime, BraceFormatter(runtime, arguments).run(self.text()->bytes), self.text()->markup);
}

Value format_percent(Runtime& runtime, const Text& format, const Value& value) {
  const Sequence* several = value.sequence();
  if (several != nullptr && several->flavor != Flavor::tuple) several = nullptr;
  size_t used = 0;
  const auto take = [&]() -> const Value& {
    const size_t count = several != nullptr ? several->items.size() : 1;
    if (used >= count) runtime.fail("TypeError", "not enough arguments for format string");
    ++used;
    return several != nullptr ? several->items[used - 1] : value;
  };
  const std::string_view text = format.bytes;
  bool named = false;
  TextBuilder out(runtime);
  for (size_t at = 0; at < text.size();) {
    const size_t mark = std::min(text.find('%', at), text.size());
    out.add(text.substr(at, mark - at));
    if (mark == text.size()) break;
    at = mark + 1;
    Value from;
    if (at < text.size() && text[at] == '(') {
      const size_t end = text.find(')', at);
      if (end == text.npos || value.dict() == nullptr) runtime.fail("TypeError", "format requires a mapping");
      const std::string key(text.substr(at + 1, end - at - 1));
      const Value* found = value.dict()->find(key);
      if (found == nullptr) runtime.fail("KeyError", cat("'", key, "'"));
      from = *found;
      named = true;
      at = end + 1;
    }
    std::string spec;
    for (; at < text.size() && std::string_view("-+ 0#").find(text[at]) != std::string_view::npos; ++at) {
      if (text[at] == '-')
        spec.insert(0, "<");
      else if (text[at] != '#')
        spec += text[at];
    }
    const bool aligned = spec.starts_with('<');
    const size_t digits = at;
    while (at < text.size() && ((text[at] >= '0' && text[at] <= '9') || text[at] == '.')) ++at;
    spec += text.substr(digits, at - digits);
    if (at >= text.size()) runtime.fail("ValueError", "incomplete format");
    const char type = text[at++];
    if (type == '%') {
      out.add("%");
      continue;
    }
    if (!named) from = take();
    if (type == 's' || type == 'r') {
      const std::string shown = type == 's' ? to_string(runtime, from) : repr(runtime, from);
      if (!aligned && !spec.empty() && spec[0] != '.') spec.insert(0, ">");
      out.add(format_value(runtime, make_text(runtime, shown), spec));
    } else if (std::string_view("diuxXoeEfFgG").find(type) != std::string_view::npos) {
      if (!from.is_number())
        runtime.fail("TypeError",
                     cat("%", type, " format: a real number is required, not ", from.type_name()));
      const bool whole = std::string_view("diuxXo").find(type) != std::string_view::npos;
      if (whole && from.is_float()) from = truncated(runtime, *from.as_number());
      out.add(format_value(runtime, from, spec + (type == 'i' || type == 'u' ? 'd' : type)));
    } else {
      runtime.fail("ValueError", cat("unsupported format character '", type, "'"));
    }
  }
  if (!named && value.dict() == nullptr && (several != nullptr ? used < several->items.size() : used == 0)) {
    runtime.fail("TypeError", "not all arguments converted during string formatting");
  }
  return make_text(runtime, out.take(), format.markup);
}

}  // namespace gptq::jinja
