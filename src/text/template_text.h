// Texts as Python sees them: code points, its white space, its cases, and building them within the limits.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/template_runtime.h"

namespace gptq::jinja {

struct Text;

size_t code_points(std::string_view text);
/// Where code point number `index` begins; the size of the text for one behind its end.
size_t byte_offset(const Text& text, size_t index);
/// The code point number of a byte offset.
size_t code_point_index(const Text& text, size_t offset);

/// text.find(), in linear time.
size_t find_text(std::string_view text, std::string_view part, size_t from);

/// A text that grows, within the limits on texts and steps.
class TextBuilder {
 public:
  explicit TextBuilder(Runtime& runtime) : runtime_(runtime) {}

  void add(std::string_view part) {
    runtime_.work(1 + part.size() / 32);
    if (part.size() > kMaxText - text_.size())
      runtime_.exceed("makes a text of more bytes than a template may", kMaxText);
    text_ += part;
  }
  void add(char32_t code_point);
  void fill(std::string_view part, int64_t times);
  const std::string& text() const { return text_; }
  std::string take() { return std::move(text_); }

 private:
  Runtime& runtime_;
  std::string text_;
};

bool is_space(char32_t c);      // str.isspace()
bool is_printable(char32_t c);  // str.isprintable()
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_cased(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);

enum class Case : uint8_t { upper, lower, title, capital, swap };  // title: as str.title()
std::string change_case(std::string_view text, Case to);

enum class Ends : uint8_t { both, left, right };
/// Without `chars` at the ends, or without white space.
std::string_view strip(std::string_view text, std::optional<std::string_view> chars, Ends ends);

/// "&", "<", ">", and both quotes, as markupsafe escapes them.
std::string escape(Runtime& runtime, std::string_view text);

/// Lines without their ends, or with.
enum class KeepEnds : uint8_t { no, yes };
std::vector<std::string_view> split_lines(std::string_view text, KeepEnds keep);

}  // namespace gptq::jinja
