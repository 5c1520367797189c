// See unicode.h.
#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "text/utf8.h"

namespace gptq {

namespace {

utf8proc_int32_t as_signed(char32_t c) { return static_cast<utf8proc_int32_t>(c); }

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

void append_decomposed(std::vector<utf8proc_int32_t>& out, char32_t c, utf8proc_option_t options) {
  utf8proc_int32_t parts[32];  // the longest decomposition has 18
  int last_boundary = 0;
  const auto n = utf8proc_decompose_char(as_signed(c), parts, 32, options, &last_boundary);
  if (n < 0 || n > 32) throw Error(Status::internal, "a code point decomposes into too many");
  out.insert(out.end(), parts, parts + n);
}

/// Canonical order: marks between two starters, stably by class.
void order_marks(std::vector<utf8proc_int32_t>& text) {
  size_t i = 0;
  while (i < text.size()) {
    if (combining_class(text[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && combining_class(text[end]) != 0) ++end;
    std::stable_sort(text.begin() + static_cast<ptrdiff_t>(i), text.begin() + static_cast<ptrdiff_t>(end),
                     [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    i = end;
  }
}

void append_form(std::string& out, std::string_view text, NormalForm form) {
  const bool compat = form == NormalForm::nfkc || form == NormalForm::nfkd;
  const int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0);
  std::vector<utf8proc_int32_t> points;
  for (size_t at = 0; at < text.size();) {
    append_decomposed(points, next_code_point(text, at), static_cast<utf8proc_option_t>(options));
  }
  order_marks(points);
  auto count = static_cast<utf8proc_ssize_t>(points.size());
  if (form == NormalForm::nfc || form == NormalForm::nfkc) {
    const int compose = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    count = utf8proc_normalize_utf32(points.data(), count, static_cast<utf8proc_option_t>(compose));
    if (count < 0) throw Error(Status::internal, "utf8proc can't compose a text");
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i)
    append_utf8(out, static_cast<char32_t>(points[static_cast<size_t>(i)]));
}

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

}  // namespace

// An ASCII character never changes alone and never joins what precedes it, so only the stretches that hold
// other characters, each with the ASCII character before it, need work.
std::string normal_form(std::string_view text, NormalForm form) {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  while (done < text.size()) {
    size_t begin = done;
    while (begin < text.size() && is_ascii(text[begin])) ++begin;
    if (begin == text.size()) break;
    if (begin > done) --begin;
    size_t end = begin + 1;
    while (end < text.size() && !is_ascii(text[end])) ++end;
    out += text.substr(done, begin - done);
    append_form(out, text.substr(begin, end - begin), form);
    done = end;
  }
  out += text.substr(done);
  return out;
}

std::string lower_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    if (c == 0x130) {
      out += "i\xCC\x87";  // the only code point whose lower case is two
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_tolower(as_signed(c))));
    }
  }
  return out;
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_word(char32_t c) {
  switch (utf8proc_category(as_signed(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
  }
  // Join_Control, and the circled and squared letters: symbols that are Alphabetic
  return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

bool is_mark(char32_t c) {
  const auto category = utf8proc_category(as_signed(c));
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
         category == UTF8PROC_CATEGORY_ME;
}

bool is_nonspacing_mark(char32_t c) { return utf8proc_category(as_signed(c)) == UTF8PROC_CATEGORY_MN; }

bool is_unprintable(char32_t c) {
  const auto category = utf8proc_category(as_signed(c));
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
         category == UTF8PROC_CATEGORY_CO;
}

size_t grapheme_length(std::string_view text) {
  size_t at = 0;
  utf8proc_int32_t state = 0;
  auto last = as_signed(next_code_point(text, at));
  while (at < text.size()) {
    size_t next = at;
    const auto c = as_signed(next_code_point(text, next));
    if (utf8proc_grapheme_break_stateful(last, c, &state)) break;
    last = c;
    at = next;
  }
  return at;
}

bool is_number(char32_t c) {
  const auto category = utf8proc_category(as_signed(c));
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return (c > 32 && c < 48) || (c > 57 && c < 65) || (c > 90 && c < 97) || (c > 122 && c < 127);
  const auto category = utf8proc_category(as_signed(c));
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

}  // namespace gptq
