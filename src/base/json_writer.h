// JSON documents written piece by piece, as text: no tree of values is built.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/text.h"

namespace gptq {

enum class JsonLayout : uint8_t { one_line, indented };  // by two spaces

/// The calls must make sense in their order: a key before each value in an object, an end for each begin.
class JsonWriter {
 public:
  explicit JsonWriter(JsonLayout layout = JsonLayout::one_line) : layout_(layout) {}

  void begin_object() { begin('{'); }
  void end_object() { end('}'); }
  void begin_array() { begin('['); }
  void end_array() { end(']'); }
  void key(std::string_view key);

  void value(std::string_view text);  // ill-formed UTF-8 becomes U+FFFD
  void value(const char* text) { value(std::string_view(text)); }
  void value(bool flag) { put(flag ? "true" : "false"); }
  void value(double number);  // null unless finite
  template <std::integral T>
  void value(T number) {
    put(cat(number));
  }
  void null() { put("null"); }
  void json(std::string_view value) { put(value); }  // a value in JSON already

  /// A key and its value.
  template <class T>
  void member(std::string_view name, const T& what) {
    key(name);
    value(what);
  }

  std::string take() { return std::move(out_); }

 private:
  enum class Last : uint8_t { start, begin, key, value };

  void begin(char bracket);
  void end(char bracket);
  void put(std::string_view text);
  void separate();
  void new_line();

  JsonLayout layout_;
  std::string out_;
  size_t depth_ = 0;
  Last last_ = Last::start;
};

/// `text`, checked as by parse_json(), printed anew with the member `key` of its object set to `value`, which is JSON:
/// in its place where there was one, else at the end. Other members keep their order.
std::string set_json_member(std::string_view text, std::string_view what, std::string_view key,
                            std::string_view value);
/// The same without the member.
std::string remove_json_member(std::string_view text, std::string_view what, std::string_view key);

}  // namespace gptq
