#include "text/template_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>

#include "text/template_value.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace gptq::jinja {
namespace {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

/// Characters whose upper case is more than one character (SpecialCasing.txt, the unconditional ones but for Greek
/// with iota subscript).
struct LongUpper {
  char32_t from;
  std::u32string_view upper, title;
};
constexpr LongUpper kLongUpper[] = {
    {0xDF, U"SS", U"Ss"},
    {0x149, U"\u02BCN", U"\u02BCN"},
    {0x1F0, U"J\u030C", U"J\u030C"},
    {0x390, U"\u0399\u0308\u0301", U"\u0399\u0308\u0301"},
    {0x3B0, U"\u03A5\u0308\u0301", U"\u03A5\u0308\u0301"},
    {0x587, U"\u0535\u0552", U"\u0535\u0582"},
    {0x1E96, U"H\u0331", U"H\u0331"},
    {0x1E97, U"T\u0308", U"T\u0308"},
    {0x1E98, U"W\u030A", U"W\u030A"},
    {0x1E99, U"Y\u030A", U"Y\u030A"},
    {0x1E9A, U"A\u02BE", U"A\u02BE"},
    {0xFB00, U"FF", U"Ff"},
    {0xFB01, U"FI", U"Fi"},
    {0xFB02, U"FL", U"Fl"},
    {0xFB03, U"FFI", U"Ffi"},
    {0xFB04, U"FFL", U"Ffl"},
    {0xFB05, U"ST", U"St"},
    {0xFB06, U"ST", U"St"},
    {0xFB13, U"\u0544\u0546", U"\u0544\u0576"},
    {0xFB14, U"\u0544\u0535", U"\u0544\u0565"},
    {0xFB15, U"\u0544\u053B", U"\u0544\u056B"},
    {0xFB16, U"\u054E\u0546", U"\u054E\u0576"},
    {0xFB17, U"\u0544\u053D", U"\u0544\u056D"},
};

enum class Letter : uint8_t { upper, lower, title };

void append_case(std::string& out, char32_t c, Letter to) {
  if (c < 0x80) {
    const bool lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z';
    const bool change = to == Letter::lower ? upper : lower;
    out += static_cast<char>(change ? c ^ 0x20 : c);
    return;
  }
  if (to == Letter::lower && c == 0x130) {  // I with dot above
    out += "i";
    append_utf8(out, 0x307);
    return;
  }
  if (to != Letter::lower) {
    const auto* found = std::find_if(std::begin(kLongUpper), std::end(kLongUpper),
                                     [c](const LongUpper& row) { return row.from == c; });
    if (found != std::end(kLongUpper)) {
      for (char32_t part : to == Letter::upper ? found->upper : found->title) append_utf8(out, part);
      return;
    }
  }
  const auto from = static_cast<utf8proc_int32_t>(c);
  const auto result = to == Letter::upper   ? utf8proc_toupper(from)
                      : to == Letter::lower ? utf8proc_tolower(from)
                                            : utf8proc_totitle(from);
  append_utf8(out, static_cast<char32_t>(result));
}

/// The last of a word's sigmas has a form of its own (with letters before it, none after).
bool is_final_sigma(std::string_view text, size_t begin, size_t end) {
  const auto ignorable = [](char32_t c) {
    const auto kind = category(c);
    return c == '\'' || c == 0xAD || c == 0x2019 || c == '.' || c == ':' || c == 0xB7 ||
           kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_ME || kind == UTF8PROC_CATEGORY_CF ||
           kind == UTF8PROC_CATEGORY_LM || kind == UTF8PROC_CATEGORY_SK;
  };
  bool before = false;
  while (begin > 0) {
    const char32_t c = previous_code_point(text, begin);
    if (ignorable(c)) continue;
    before = is_cased(c);
    break;
  }
  while (end < text.size()) {
    const char32_t c = next_code_point(text, end);
    if (!ignorable(c)) return before && !is_cased(c);
  }
  return before;
}

}  // namespace

size_t code_points(std::string_view text) {
  size_t count = 0;
  for (char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

size_t byte_offset(const Text& text, size_t index) {
  if (index >= text.length) return text.bytes.size();
  if (text.ascii()) return index;
  size_t at = 0;
  while (index-- > 0) at += utf8_sequence_length(text.bytes[at]);
  return at;
}

size_t code_point_index(const Text& text, size_t offset) {
  return text.ascii() ? offset : code_points(std::string_view(text.bytes).substr(0, offset));
}

size_t find_text(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

void TextBuilder::add(char32_t code_point) {
  std::string bytes;
  append_utf8(bytes, code_point);
  add(bytes);
}

void TextBuilder::fill(std::string_view part, int64_t times) {
  if (part.empty()) return;
  for (int64_t i = 0; i < times; ++i) add(part);
}

bool is_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
  }
}

bool is_upper(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LU; }
bool is_lower(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA; }
bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || category(c) == UTF8PROC_CATEGORY_LT; }
bool is_alpha(char32_t c) {
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}
bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t c) {  // besides decimals those in circles, and above and below the line
  return is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
         (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) || (c >= 0x2460 && c <= 0x2468);
}
bool is_numeric(char32_t c) { return is_number(c); }

std::string change_case(std::string_view text, Case to) {
  std::string out;
  out.reserve(text.size());
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(text, at);
    Letter letter = Letter::lower;
    switch (to) {
      case Case::upper: letter = Letter::upper; break;
      case Case::lower: break;
      case Case::title: letter = in_word ? Letter::lower : Letter::title; break;
      case Case::capital: letter = begin == 0 ? Letter::title : Letter::lower; break;
      case Case::swap: letter = is_lower(c) ? Letter::upper : Letter::lower; break;
    }
    in_word = is_cased(c);
    if (to == Case::swap && !in_word) {
      append_utf8(out, c);
    } else if (c == 0x3A3 && letter == Letter::lower) {
      append_utf8(out, is_final_sigma(text, begin, at) ? 0x3C2 : 0x3C3);
    } else {
      append_case(out, c, letter);
    }
  }
  return out;
}

std::string_view strip(std::string_view text, std::optional<std::string_view> chars, Ends ends) {
  std::u32string set;
  if (chars) {
    for (size_t at = 0; at < chars->size();) set += next_code_point(*chars, at);
  }
  const auto goes = [&](char32_t c) { return chars ? set.find(c) != std::u32string::npos : is_space(c); };
  size_t begin = 0, end = text.size();
  while (ends != Ends::right && begin < end) {
    size_t at = begin;
    if (!goes(next_code_point(text, at))) break;
    begin = at;
  }
  while (ends != Ends::left && begin < end) {
    size_t at = end;
    if (!goes(previous_code_point(text, at))) break;
    end = at;
  }
  return text.substr(begin, end - begin);
}

std::string escape(Runtime& runtime, std::string_view text) {
  TextBuilder out(runtime);
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of("&<>'\"", at), text.size());
    out.add(text.substr(at, end - at));
    if (end == text.size()) break;
    switch (text[end]) {
      case '&': out.add("&amp;"); break;
      case '<': out.add("&lt;"); break;
      case '>': out.add("&gt;"); break;
      case '\'': out.add("&#39;"); break;
      default: out.add("&#34;"); break;
    }
    at = end + 1;
  }
  return out.take();
}

std::vector<std::string_view> split_lines(std::string_view text, KeepEnds keep) {
  std::vector<std::string_view> lines;
  for (size_t begin = 0, at = 0; at < text.size();) {
    const size_t end = at;
    const char32_t c = next_code_point(text, at);
    const bool breaks =
        (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (breaks) {
      if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
      lines.push_back(text.substr(begin, (keep == KeepEnds::yes ? at : end) - begin));
      begin = at;
    } else if (at >= text.size()) {
      lines.push_back(text.substr(begin));
    }
  }
  return lines;
}

}  // namespace gptq::jinja
