// How values print: str() and repr() of Python, and JSON as its json.dumps() writes it.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/text.h"
#include "text/template_json.h"
#include "text/template_text.h"
#include "text/template_value.h"
#include "text/utf8.h"

namespace gptq::jinja {
namespace {

void add_hex(TextBuilder& out, std::string_view prefix, uint32_t value, int digits) {
  std::string text(prefix);
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
    text += "0123456789abcdef"[(value >> shift) & 15];
  out.add(text);
}

void add_repr(TextBuilder& out, std::string_view text) {
  const bool single = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const std::string_view quote = single ? "\"" : "'";
  out.add(quote);
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(text, at);
    if (c == '\n') {
      out.add("\\n");
    } else if (c == '\r') {
      out.add("\\r");
    } else if (c == '\t') {
      out.add("\\t");
    } else if (c == '\\' || (c < 0x80 && static_cast<char>(c) == quote[0])) {
      out.add("\\");
      out.add(text.substr(begin, 1));
    } else if (is_printable(c)) {
      out.add(text.substr(begin, at - begin));
    } else if (c < 0x100) {
      add_hex(out, "\\x", c, 2);
    } else {
      add_hex(out, c < 0x10000 ? "\\u" : "\\U", c, c < 0x10000 ? 4 : 8);
    }
  }
  out.add(quote);
}

class Printer {
 public:
  explicit Printer(Runtime& runtime) : runtime_(runtime), out_(runtime) {}

  void add(const Value& value) {
    if (depth_ > kMaxValueDepth) runtime_.exceed("prints a value deeper than a template may", kMaxValueDepth);
    ++depth_;
    add_value(value);
    --depth_;
  }
  std::string take() { return out_.take(); }

 private:
  void add_value(const Value& value) {
    if (value.is_undefined()) {
      out_.add("Undefined");
    } else if (const Text* text = value.text()) {
      if (text->markup == Markup::yes) out_.add("Markup(");
      add_repr(out_, text->bytes);
      if (text->markup == Markup::yes) out_.add(")");
    } else if (const Sequence* sequence = value.sequence()) {
      add_sequence(*sequence);
    } else if (const Dict* dict = value.dict()) {
      out_.add("{");
      for (size_t i = 0; i < dict->items.size(); ++i) {
        if (i != 0) out_.add(", ");
        add(dict->items[i].first);
        out_.add(": ");
        add(dict->items[i].second);
      }
      out_.add("}");
    } else if (const Namespace* names = value.name_space()) {
      out_.add("<Namespace {");
      for (size_t i = 0; i < names->items.size(); ++i) {
        if (i != 0) out_.add(", ");
        add_repr(out_, names->items[i].first);
        out_.add(": ");
        add(names->items[i].second);
      }
      out_.add("}>");
    } else if (value.callable() != nullptr || value.loop() != nullptr) {
      const bool macro = value.callable() != nullptr && value.callable()->native == nullptr;
      out_.add(cat("<", value.type_name(), " "));
      add_repr(out_, value.callable() != nullptr ? value.callable()->name : "loop");
      out_.add(macro ? ">" : " object>");
    } else {
      out_.add(to_string(runtime_, value));
    }
  }

  void add_sequence(const Sequence& sequence) {
    const auto& items = sequence.items;
    if (sequence.once()) return out_.add(cat("<", flavor_name(sequence.flavor), " object>"));
    if (sequence.flavor == Flavor::range)
      return sequence.label.empty() ? add_range(sequence) : out_.add(sequence.label);
    const bool view = !sequence.indexed();
    const bool tuple = sequence.flavor == Flavor::tuple;
    if (view) out_.add(cat(flavor_name(sequence.flavor), "("));
    out_.add(tuple ? "(" : "[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) out_.add(", ");
      add(items[i]);
    }
    if (tuple && items.size() == 1) out_.add(",");
    out_.add(tuple ? ")" : "]");
    if (view) out_.add(")");
  }

  void add_range(const Sequence& sequence) {
    const auto item = [&](size_t i) { return sequence.items[i].as_integer().value_or(0); };
    const size_t n = sequence.items.size();
    const int64_t first = n == 0 ? 0 : item(0), step = n < 2 ? 1 : item(1) - first;
    out_.add(cat("range(", first, ", ", n == 0 ? 0 : item(n - 1) + step));
    out_.add(step == 1 ? ")" : cat(", ", step, ")"));
  }

  Runtime& runtime_;
  TextBuilder out_;
  int depth_ = 0;
};

class JsonPrinter {
 public:
  JsonPrinter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style), out_(runtime) {}

  void add(const Value& value, int level) {
    runtime_.work(1);
    if (const Text* text = value.text()) {
      add_text(text->bytes);
    } else if (value.is_none()) {
      out_.add("null");
    } else if (const bool* flag = value.get<bool>()) {
      out_.add(*flag ? "true" : "false");
    } else if (const double* number = value.get<double>()) {
      out_.add(float_text(*number));
    } else if (const auto integer = value.as_integer()) {
      out_.add(cat(*integer));
    } else if (const Dict* dict = value.dict()) {
      add_dict(*dict, level);
    } else if (const Sequence* s = value.sequence();
               s != nullptr && (s->flavor == Flavor::list || s->flavor == Flavor::tuple)) {
      add_list(*s, level);
    } else {
      runtime_.fail("TypeError", cat("Object of type ", value.type_name(), " is not JSON serializable"));
    }
  }
  std::string take() { return out_.take(); }

 private:
  static std::string float_text(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_repr(value);
  }

  void new_line(int level) {
    if (!style_.indent) return;
    out_.add("\n");
    out_.fill(*style_.indent, level);
  }

  void add_list(const Sequence& list, int level) {
    if (list.items.empty()) return out_.add("[]");
    out_.add("[");
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i != 0) out_.add(style_.item_separator);
      new_line(level + 1);
      add(list.items[i], level + 1);
    }
    new_line(level);
    out_.add("]");
  }

  std::string key_text(const Value& key) {
    if (const Text* text = key.text()) return text->bytes;
    if (key.is_none()) return "null";
    if (const bool* flag = key.get<bool>()) return *flag ? "true" : "false";
    if (const double* number = key.get<double>()) return float_text(*number);
    if (const auto integer = key.as_integer()) return cat(*integer);
    runtime_.fail("TypeError", cat("keys must be str, int, float, bool or None, not ", key.type_name()));
  }

  void add_dict(const Dict& dict, int level) {
    if (dict.items.empty()) return out_.add("{}");
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.keys == JsonKeys::sorted) {
      std::stable_sort(items.begin(), items.end(), [&](const auto* a, const auto* b) {
        return compare(runtime_, a->first, b->first, "<") < 0;
      });
    }
    out_.add("{");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) out_.add(style_.item_separator);
      new_line(level + 1);
      add_text(key_text(items[i]->first));
      out_.add(style_.key_separator);
      add(items[i]->second, level + 1);
    }
    new_line(level);
    out_.add("}");
  }

  void add_text(std::string_view text) {
    out_.add("\"");
    size_t plain = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      const char32_t c = next_code_point(text, at);
      if (c >= 0x20 && c != '"' && c != '\\' && (c < 0x7F || style_.ascii == JsonAscii::no)) continue;
      out_.add(text.substr(plain, begin - plain));
      plain = at;
      add_escape(c);
    }
    out_.add(text.substr(plain));
    out_.add("\"");
  }

  void add_escape(char32_t c) {
    switch (c) {
      case '"': return out_.add("\\\"");
      case '\\': return out_.add("\\\\");
      case '\n': return out_.add("\\n");
      case '\r': return out_.add("\\r");
      case '\t': return out_.add("\\t");
      case '\b': return out_.add("\\b");
      case '\f': return out_.add("\\f");
      default: break;
    }
    if (c < 0x10000) return add_hex(out_, "\\u", c, 4);
    add_hex(out_, "\\u", 0xD800 + ((c - 0x10000) >> 10), 4);
    add_hex(out_, "\\u", 0xDC00 + ((c - 0x10000) & 0x3FF), 4);
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  TextBuilder out_;
};

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 40> buffer;
  auto* end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer.data(), static_cast<size_t>(end - buffer.data()));
  const size_t e = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), end, exponent);
  if (exponent < -4 || exponent >= 16)
    return std::string(text);  // two digits of exponent at least, as Python's
  end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed).ptr;
  std::string fixed(buffer.data(), end);
  return fixed.find('.') == std::string::npos ? fixed + ".0" : fixed;
}

std::string to_string(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_none()) return "None";
  if (const bool* flag = value.get<bool>()) return *flag ? "True" : "False";
  if (const double* number = value.get<double>()) return float_repr(*number);
  if (const auto integer = value.as_integer()) return cat(*integer);
  if (const Text* text = value.text()) return text->bytes;
  return repr(runtime, value);
}

std::string repr(Runtime& runtime, const Value& value) {
  Printer printer(runtime);
  printer.add(value);
  return printer.take();
}

std::string to_json(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonPrinter printer(runtime, style);
  printer.add(value, 0);
  return printer.take();
}

}  // namespace gptq::jinja
