#include "text/template_lexer.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "text/template_limits.h"
#include "text/template_text.h"
#include "text/utf8.h"

namespace gptq::jinja {
namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_number_digit(char c) { return c >= '0' && c <= '9'; }
bool begins_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

/// With "\n" for each kind of line end, without the last one.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      out += '\n';
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

int hex_digit(char c) {
  if (is_number_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view name) : text_(source), name_(name) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) read_data();
    put(TokenKind::end, {});
    return std::move(tokens_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool looking_at(std::string_view what) const { return text_.substr(at_).starts_with(what); }
  void put(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }
  [[noreturn]] void refuse(const std::string& message) const { refuse_template(name_, line_, message); }

  /// Moves on, and counts the lines.
  void skip(size_t bytes) {
    const std::string_view passed = text_.substr(at_, bytes);
    line_ += static_cast<uint32_t>(std::count(passed.begin(), passed.end(), '\n'));
    at_ += bytes;
  }
  void skip_spaces() {
    size_t end = at_;
    while (end < text_.size()) {
      size_t next = end;
      if (!is_space(next_code_point(text_, next))) break;
      end = next;
    }
    skip(end - at_);
  }

  /// Text up to the next tag, and that tag.
  void read_data() {
    size_t tag = at_;
    while (tag < text_.size()) {
      tag = std::min(text_.find('{', tag), text_.size());
      if (tag + 1 < text_.size() &&
          (text_[tag + 1] == '{' || text_[tag + 1] == '%' || text_[tag + 1] == '#')) {
        break;
      }
      tag = std::min(tag + 1, text_.size());
    }
    if (tag >= text_.size()) {
      put_data(text_.substr(at_));
      skip(text_.size() - at_);
      return;
    }
    const char kind = text_[tag + 1];
    const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
    std::string_view data = text_.substr(at_, tag - at_);
    if (sign == '-') {
      data = strip(data, std::nullopt, Ends::right);
    } else if (sign != '+' && kind != '{') {
      data = without_indentation(data);
    }
    put_data(data);
    skip(tag - at_);
    const size_t opening = sign == '-' || sign == '+' ? 3 : 2;
    if (kind == '#') {
      skip(opening);
      skip_comment();
    } else if (kind == '%' && !raw_tag(opening)) {
      put(TokenKind::block_begin, "{%");
      skip(opening);
      read_code(TokenKind::block_end, "%}");
    } else if (kind == '{') {
      put(TokenKind::print_begin, "{{");
      skip(opening);
      read_code(TokenKind::print_end, "}}");
    }
    line_starting_ = at_ > 0 && text_[at_ - 1] == '\n';
  }

  void put_data(std::string_view data) {
    if (!data.empty()) put(TokenKind::data, std::string(data));
  }

  /// lstrip_blocks: without the blanks between the last newline and the tag.
  std::string_view without_indentation(std::string_view data) const {
    const size_t newline = data.rfind('\n');
    const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if (line == 0 && !line_starting_) return data;
    return strip(data.substr(line), std::nullopt, Ends::both).empty() ? data.substr(0, line) : data;
  }

  void skip_comment() {
    const size_t end = text_.find("#}", at_);
    if (end == std::string_view::npos) refuse("a comment has no end, wanted '#}'");
    const char sign = end > at_ ? text_[end - 1] : '\0';
    skip(end + 2 - at_);
    after_tag(sign);
  }

  void after_tag(char sign) {
    if (sign == '-') {
      skip_spaces();
    } else if (sign != '+' && peek() == '\n') {
      skip(1);
    }
  }

  /// "{% raw %}...{% endraw %}": false, and nothing done, for another tag.
  bool raw_tag(size_t opening) {
    size_t at = at_ + opening;
    while (at < text_.size() && is_blank(text_[at])) ++at;
    if (!text_.substr(at).starts_with("raw")) return false;
    at += 3;
    while (at < text_.size() && is_blank(text_[at])) ++at;
    const bool trims = text_.substr(at).starts_with("-%}");
    if (!trims && !text_.substr(at).starts_with("%}")) return false;
    skip(at + (trims ? 3 : 2) - at_);
    if (trims) skip_spaces();
    for (size_t tag = at_; (tag = text_.find("{%", tag)) != std::string_view::npos; tag += 2) {
      size_t end = tag + 2;
      const char sign = end < text_.size() ? text_[end] : '\0';
      if (sign == '-' || sign == '+') ++end;
      while (end < text_.size() && is_blank(text_[end])) ++end;
      if (!text_.substr(end).starts_with("endraw")) continue;
      end += 6;
      while (end < text_.size() && is_blank(text_[end])) ++end;
      const char closing = end < text_.size() && (text_[end] == '-' || text_[end] == '+') ? text_[end] : '\0';
      if (closing != '\0') ++end;
      if (!text_.substr(end).starts_with("%}")) continue;
      std::string_view data = text_.substr(at_, tag - at_);
      line_starting_ = text_[at_ - 1] == '\n';
      if (sign == '-') {
        data = strip(data, std::nullopt, Ends::right);
      } else if (sign != '+') {
        data = without_indentation(data);
      }
      put_data(data);
      skip(end + 2 - at_);
      after_tag(closing);
      return true;
    }
    refuse("'raw' has no end, wanted 'endraw'");
  }

  /// Tokens up to the end of the tag.
  void read_code(TokenKind end_kind, std::string_view end) {
    std::string open;  // the brackets that are open, by what closes them
    while (at_ < text_.size()) {
      skip_spaces();
      if (open.empty() && at_end_of_tag(end)) {
        const bool signed_end = !looking_at(end);
        const char sign = signed_end ? peek() : '\0';
        put(end_kind, std::string(end));
        skip(end.size() + (signed_end ? 1 : 0));
        if (sign == '-' || end_kind == TokenKind::block_end) after_tag(sign);
        return;
      }
      if (at_ < text_.size()) read_token(open);
    }
    refuse(cat("a tag has no end, wanted '", end, "'"));
  }

  bool at_end_of_tag(std::string_view end) const {
    if (looking_at(end)) return true;
    const bool sign = peek() == '-' || (peek() == '+' && end == "%}");
    return sign && text_.substr(at_ + 1).starts_with(end);
  }

  void read_token(std::string& open) {
    const char c = peek();
    if (is_number_digit(c)) return read_number();
    if (begins_name(c)) return read_name();
    if (c == '\'' || c == '"') return read_string();
    for (std::string_view op : {"**", "//", "==", "!=", ">=", "<="}) {
      if (looking_at(op)) return read_operator(op.size());
    }
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos)
      refuse(cat("unexpected character ", quoted(text_.substr(at_, utf8_sequence_length(c)))));
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c)
        refuse(open.empty() ? cat("unexpected '", c, "'")
                            : cat("unexpected '", c, "', wanted '", open.back(), "'"));
      open.pop_back();
    }
    read_operator(1);
  }

  void read_operator(size_t size) {
    put(TokenKind::op, std::string(text_.substr(at_, size)));
    skip(size);
  }

  void read_name() {
    const size_t begin = at_;
    size_t end = at_;
    while (end < text_.size()) {
      size_t next = end;
      const char32_t c = next_code_point(text_, next);
      if (!(c < 0x80 ? begins_name(text_[end]) || is_number_digit(text_[end]) : is_alpha(c) || is_numeric(c)))
        break;
      end = next;
    }
    if (end == begin)
      refuse(cat("unexpected character ", quoted(text_.substr(at_, utf8_sequence_length(peek())))));
    put(TokenKind::name, std::string(text_.substr(begin, end - begin)));
    skip(end - begin);
  }

  /// Digits, with single "_" between them; where they end.
  size_t digits_end(size_t at) const {
    while (at < text_.size() && (is_number_digit(text_[at]) || (text_[at] == '_' && at + 1 < text_.size() &&
                                                                is_number_digit(text_[at + 1])))) {
      ++at;
    }
    return at;
  }

  void read_number() {
    TokenKind kind = TokenKind::integer;
    size_t end = at_;
    if (peek() == '0' && std::string_view("xXoObB").find(peek(1)) != std::string_view::npos &&
        peek(1) != '\0') {
      end += 2;
      while (end < text_.size() && (hex_digit(text_[end]) >= 0 || text_[end] == '_')) ++end;
    } else {
      end = digits_end(at_);
      const auto digit_at = [&](size_t at) { return at < text_.size() && is_number_digit(text_[at]); };
      const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';  // x.0.1 are two items
      if (!after_dot && end < text_.size() && text_[end] == '.' && digit_at(end + 1)) {
        kind = TokenKind::number;
        end = digits_end(end + 1);
      }
      if (!after_dot && end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
        const size_t sign =
            end + 1 < text_.size() && (text_[end + 1] == '-' || text_[end + 1] == '+') ? 1 : 0;
        if (digit_at(end + 1 + sign)) {
          kind = TokenKind::number;
          end = digits_end(end + 1 + sign);
        }
      }
    }
    std::string digits(text_.substr(at_, end - at_));
    std::erase(digits, '_');
    put(kind, std::move(digits));
    skip(end - at_);
  }

  void read_string() {
    const char quote = peek();
    std::string value;
    size_t at = at_ + 1;
    for (; at < text_.size() && text_[at] != quote; ++at) {
      if (text_[at] != '\\') {
        value += text_[at];
      } else if (at + 1 < text_.size()) {
        ++at;
        at = unescape(at, value);
      }
    }
    if (at >= text_.size()) refuse(cat("a string has no end, wanted ", quote));
    put(TokenKind::string, std::move(value));
    skip(at + 1 - at_);
  }

  /// The escape whose character after the backslash is at `at`, as Python reads it; the place of its last character.
  size_t unescape(size_t at, std::string& out) const {
    constexpr std::string_view kFrom = "abfnrtv\\'\"", kTo = "\a\b\f\n\r\t\v\\'\"";
    const char c = text_[at];
    if (const size_t i = kFrom.find(c); i != std::string_view::npos) {
      out += kTo[i];
    } else if (c == '\n') {  // the line goes on
    } else if (c >= '0' && c <= '7') {
      char32_t value = 0;
      size_t end = at;
      while (end < text_.size() && end < at + 3 && text_[end] >= '0' && text_[end] <= '7')
        value = value * 8 + static_cast<char32_t>(text_[end++] - '0');
      append_utf8(out, value);
      return end - 1;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      char32_t value = 0;
      for (size_t i = 1; i <= digits; ++i) {
        const int digit = at + i < text_.size() ? hex_digit(text_[at + i]) : -1;
        if (digit < 0) refuse(cat("'\\", c, "' in a string wants ", digits, " hexadecimal digits"));
        value = value * 16 + static_cast<char32_t>(digit);
      }
      if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
        refuse(cat("'\\", c, "' in a string is no character"));
      append_utf8(out, value);
      return at + digits;
    } else if (c == 'N') {
      refuse("'\\N' in a string is not known here, wanted '\\u'");
    } else {
      out += '\\';
      out += c;
    }
    return at;
  }

  std::string_view text_, name_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::string Token::described() const {
  switch (kind) {
    case TokenKind::data: return "text";
    case TokenKind::end: return "the end of the template";
    case TokenKind::string: return cat("the string ", quoted(text, 40));
    default: return quoted(text, 40);
  }
}

void refuse_template(std::string_view name, uint32_t line, const std::string& message) {
  throw Error(Fault::format, cat(name, ": line ", line, ": ", message));
}

std::vector<Token> tokenize(std::string_view source, std::string_view name) {
  if (source.size() > kMaxSource)
    throw Error(Fault::limit,
                cat(name, ": ", source.size(), " bytes, at most ", kMaxSource, " are accepted"));
  if (!is_utf8(source)) throw Error(Fault::format, cat(name, ": not UTF-8"));
  const std::string text = normalized(source);
  return Lexer(text, name).run();
}

}  // namespace gptq::jinja
