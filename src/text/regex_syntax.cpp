// See regex_syntax.h.
#include "text/regex_syntax.h"

#include <array>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "text/regex_property.h"
#include "text/utf8.h"

namespace gptq {

namespace {

// White_Space. PCRE2's own \s has U+180E too.
constexpr std::string_view kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpace =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
// Alphabetic, marks, decimal digits, connectors; the last four ranges are the symbols that are Alphabetic.
constexpr std::string_view kWordInSet =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";
// Outside a set Oniguruma counts Latin-1's superscripts and fractions too.
constexpr std::string_view kWord =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})"
    R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
constexpr std::string_view kHex = "0-9a-fA-F";
constexpr std::string_view kAny = R"([\x{0}-\x{10ffff}])";
constexpr std::string_view kNone = "(?!)";

struct PosixClass {
  std::string_view name, items;
};
constexpr PosixClass kPosixClasses[] = {
    {"alpha", R"(\p{Alphabetic})"},
    {"upper", R"(\p{Uppercase})"},
    {"lower", R"(\p{Lowercase})"},
    {"digit", R"(\p{Nd})"},
    {"alnum", R"(\p{Alphabetic}\p{Nd})"},
    {"punct", R"(\p{P}\p{S})"},
    {"cntrl", R"(\p{Cc})"},
    {"space", kSpace},
    {"blank", R"(\t\p{Zs})"},
    {"xdigit", kHex},
    {"word", kWordInSet},
    {"graph", "[:graph:]"},
    {"print", "[:print:]"},
};

class Translator {
 public:
  Translator(std::string_view pattern, std::string_view where) : in_(pattern), where_(where) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      const bool quantifiable = at_ > 0;
      if (c == '\\') {
        escape();
      } else if (c == '[') {
        bracket();
      } else if (c == '(') {
        group();
      } else if (c == '{' && quantifiable) {
        interval();
      } else {
        copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(Fault::unsupported, cat(where_, ": regular expression ", quoted(in_, 200), " has ", what,
                                        " at byte ", at_, ", which is not supported"));
  }

  void copy(size_t n) {
    out_ += in_.substr(at_, n);
    at_ += n;
  }
  char peek(size_t ahead) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }

  void replace(size_t consumed, std::string_view by) {
    at_ += consumed;
    out_ += by;
  }

  void escape() {
    const char c = peek(1);
    switch (c) {
      case 's': return replace(2, cat('[', kSpace, ']'));
      case 'S': return replace(2, cat("[^", kSpace, ']'));
      case 'w': return replace(2, cat('[', kWord, ']'));
      case 'W': return replace(2, cat("[^", kWord, ']'));
      case 'h': return replace(2, cat('[', kHex, ']'));
      case 'H': return replace(2, cat("[^", kHex, ']'));
      case 'b':
        return replace(2, cat("(?:(?<=[", kWord, "])(?![", kWord, "])|(?<![", kWord, "])(?=[", kWord, "]))"));
      case 'B':
        return replace(2, cat("(?:(?<=[", kWord, "])(?=[", kWord, "])|(?<![", kWord, "])(?![", kWord, "]))"));
      case 'A':
      case 'z':
      case 'Z':
      case 'G':
      case 'K': return copy(2);
      default: return common_escape(c);
    }
  }

  // What means the same inside a bracket and outside.
  void common_escape(char c) {
    if (c == '\0') refuse("a backslash without a character");
    const auto byte = static_cast<unsigned char>(c);
    const bool letter_or_digit = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (byte >= 0x80) return replace(1, {});  // an escaped character that needs none
    if (!letter_or_digit) return copy(2);
    switch (c) {
      case 'd':
      case 'D':
      case 'n':
      case 'r':
      case 't':
      case 'f':
      case 'a':
      case 'e': return copy(2);
      case 'v': return replace(2, "\\x0b");
      case 'p':
      case 'P': return property();
      case 'u': return unicode_escape();
      case 'x': return hex_escape();
      default: break;
    }
    if (c >= '1' && c <= '9') return copy(2);  // a back reference, or an error that PCRE2 reports
    refuse(cat("the escape \\", c));
  }

  void property() {
    const size_t close = in_.find('}', at_);
    if (peek(2) != '{' || close == std::string_view::npos) refuse("a property without braces");
    const std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    const auto known = pcre2_property(name);
    if (!known) refuse(cat("the property ", name));
    replace(close + 1 - at_, cat(in_.substr(at_, 2), "{", *known, "}"));
  }

  static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  }

  void unicode_escape() {
    for (size_t i = 2; i < 6; ++i) {
      if (!is_hex(peek(i))) refuse("\\u without four hexadecimal digits");
    }
    const std::string_view digits = in_.substr(at_ + 2, 4);
    replace(6, cat("\\x{", digits, "}"));
  }

  void hex_escape() {
    if (peek(2) == '{') {
      const size_t close = in_.find('}', at_);
      if (close == std::string_view::npos) refuse("an unclosed \\x{");
      return copy(close + 1 - at_);
    }
    if (!is_hex(peek(2))) refuse("\\x without digits");
    const bool two = is_hex(peek(3));
    if (two && peek(2) > '7') refuse("a byte above 7F");
    copy(two ? 4 : 3);
  }

  /// One character of a set: what PCRE2 can have between brackets, and expressions for the rest.
  struct Set {
    std::string items;
    std::vector<std::string> others;
  };

  static std::string expression(const Set& set, bool negated) {
    const std::string plain = cat(negated ? "[^" : "[", set.items, "]");
    if (set.others.empty()) return set.items.empty() ? std::string(negated ? kAny : kNone) : plain;
    std::string all = set.items.empty() ? "" : cat("[", set.items, "]");
    for (const std::string& other : set.others) all += cat(all.empty() ? "" : "|", other);
    return negated ? cat("(?:(?!", all, ")", kAny, ")") : cat("(?:", all, ")");
  }

  void bracket() {
    const std::string set = read_set(0);
    out_ += set;
  }

  // From [ to ]; what is between goes to out_ for a while, as everything that is copied does.
  std::string read_set(int depth) {
    constexpr int kDeepest = 16;
    if (depth > kDeepest) refuse("sets within sets too deep");
    const std::string before = std::exchange(out_, {});
    ++at_;
    const bool negated = peek(0) == '^';
    if (negated) ++at_;
    std::vector<Set> operands(1);  // of &&
    if (peek(0) == ']') replace(1, "\\]");
    while (peek(0) != ']') {
      if (at_ >= in_.size()) refuse("an unclosed [");
      const char c = peek(0);
      Set& set = operands.back();
      if (c == '&' && peek(1) == '&') {
        at_ += 2;
        set.items = std::exchange(out_, {});
        operands.emplace_back();
      } else if (c == '[' && peek(1) != ':') {
        set.others.push_back(read_set(depth + 1));
      } else if (c == '[') {
        posix_class(set);
      } else if (c == '\\') {
        bracket_escape(set);
      } else {
        copy(1);
      }
    }
    ++at_;
    operands.back().items = std::exchange(out_, before);
    if (operands.size() == 1) return expression(operands[0], negated);
    std::string all;
    for (const Set& set : operands) all += cat("(?=", expression(set, false), ")");
    return negated ? cat("(?:(?!", all, ")", kAny, ")") : cat("(?:", all, kAny, ")");
  }

  void bracket_escape(Set& set) {
    switch (peek(1)) {
      case 's': return replace(2, kSpace);
      case 'S': return replace(2, kNotSpace);
      case 'w': return replace(2, kWordInSet);
      case 'h': return replace(2, kHex);
      case 'b': return copy(2);
      case 'H': return negated_class(set, kHex);
      case 'W': return negated_class(set, kWordInSet);
      default: return common_escape(peek(1));
    }
  }

  // [:alpha:] or [:^alpha:]
  void posix_class(Set& set) {
    const size_t close = in_.find(":]", at_ + 2);
    if (close == std::string_view::npos) refuse("an unclosed [:");
    std::string_view name = in_.substr(at_ + 2, close - at_ - 2);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    for (const auto& [known, items] : kPosixClasses) {
      if (name != known) continue;
      if (!negated) return replace(close + 2 - at_, items);
      negated_class(set, items);
      at_ = close + 2;
      return;
    }
    refuse(cat("the class ", name));
  }

  void negated_class(Set& set, std::string_view items) {
    at_ += 2;
    set.others.push_back(cat("[^", items, "]"));
  }

  void group() {
    if (peek(1) == '*') refuse("(*");
    if (peek(1) != '?') return copy(1);
    static constexpr std::array<std::string_view, 8> kKnown = {"(?:",  "(?=",  "(?!", "(?>",
                                                               "(?<=", "(?<!", "(?#", "(?<"};
    for (std::string_view opening : kKnown) {
      if (in_.substr(at_, opening.size()) != opening) continue;
      if (opening != "(?#") return copy(opening.size());
      const size_t close = in_.find(')', at_);
      if (close == std::string_view::npos) refuse("an unclosed comment");
      return replace(close + 1 - at_, {});
    }
    // options: what Ruby calls m is PCRE2's s
    size_t i = 2;
    std::string options = "(?";
    for (char c = peek(i); c == 'i' || c == 'm' || c == 'x' || c == '-'; c = peek(++i))
      options += c == 'm' ? 's' : c;
    if (i == 2 || (peek(i) != ':' && peek(i) != ')')) refuse("an unknown kind of group");
    options += peek(i);
    replace(i + 1, options);
  }

  // {n}, {n,}, {n,m}, {,m}; anything else is literal in both. A + behind it repeats again, and is not possessive.
  void interval() {
    size_t i = 1;
    while (peek(i) >= '0' && peek(i) <= '9') ++i;
    const size_t low_digits = i - 1;
    const bool comma = peek(i) == ',';
    const size_t high_begin = comma ? i + 1 : i;
    size_t end = high_begin;
    while (comma && peek(end) >= '0' && peek(end) <= '9') ++end;
    const bool has_high = end > high_begin;
    if (peek(end) != '}' || (low_digits == 0 && !has_high)) return replace(1, "\\{");
    const std::string_view low = low_digits == 0 ? "0" : in_.substr(at_ + 1, low_digits);
    if (peek(end + 1) == '+') {
      if (!comma || (low != "0" && low != "1")) refuse("a repeated interval");
      return replace(end + 2, low == "0" ? "*" : "+");
    }
    const std::string text = cat('{', low, in_.substr(at_ + i, end + 1 - i));
    replace(end + 1, text);
  }

  std::string_view in_;
  std::string_view where_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string pcre2_syntax(std::string_view pattern, std::string_view where) {
  return Translator(pattern, where).run();
}

}  // namespace gptq
