// The methods of Python's str that templates may call.
#include <algorithm>

#include "base/text.h"
#include "text/template_library.h"
#include "text/template_text.h"
#include "text/utf8.h"

namespace gptq::jinja {

Value format_braces(Runtime& runtime, const Value& self, const Arguments& arguments);  // template_format.cpp

namespace {

const std::string& bytes(const Value& self) { return self.text()->bytes; }

/// Markup stays markup.
Value like(Runtime& runtime, const Value& self, std::string text) {
  return make_text(runtime, std::move(text), self.text()->markup);
}

void no_arguments(Runtime& runtime, std::string_view method, const Arguments& arguments) {
  Parameters(runtime, method, arguments, {});
}

template <Case to>
Value cased(Runtime& runtime, const Value& self, const Arguments& arguments) {
  no_arguments(runtime, "str.upper", arguments);
  runtime.work(bytes(self).size());
  return like(runtime, self, change_case(bytes(self), to));
}

template <Ends ends>
Value stripped(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "strip", arguments, {"chars"});
  const auto chars = p.maybe_text(0);
  runtime.work(1 + (chars ? chars->size() * bytes(self).size() / 32 : 0));
  return like(runtime, self, std::string(strip(bytes(self), chars, ends)));
}

template <Ends ends>
Value without(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "removeprefix", arguments, {"prefix"}, 1);
  std::string_view text = bytes(self);
  const std::string& part = p.text(0).bytes;
  if (ends == Ends::left && text.starts_with(part)) text.remove_prefix(part.size());
  if (ends == Ends::right && !part.empty() && text.ends_with(part)) text.remove_suffix(part.size());
  return like(runtime, self, std::string(text));
}

/// The part of the text between the code points `begin` and `end` of a call; nothing where begin is behind the end.
std::optional<std::string_view> window(const Text& text, const Parameters& p, size_t first) {
  const auto length = static_cast<int64_t>(text.length);
  const auto place = [&](size_t i, int64_t otherwise) {
    if (p[i] == nullptr || p[i]->is_none()) return otherwise;
    const int64_t at = p.integer(i, otherwise);
    return at < 0 ? std::max<int64_t>(at < -length ? 0 : at + length, 0) : at;
  };
  const int64_t begin = place(first, 0), end = std::min(place(first + 1, length), length);
  if (begin > end) return std::nullopt;
  const size_t from = byte_offset(text, static_cast<size_t>(begin)),
               to = byte_offset(text, static_cast<size_t>(end));
  return std::string_view(text.bytes).substr(from, to - from);
}

template <Ends ends>
Value has_end(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const std::string_view method = ends == Ends::left ? "startswith" : "endswith";
  const Parameters p(runtime, method, arguments, {"prefix", "start", "end"}, 1);
  const auto text = window(*self.text(), p, 1);
  const auto fits = [&](const Value& value) {
    const Text* part = value.text();
    if (part == nullptr) {
      runtime.fail("TypeError",
                   cat(method, " first arg must be str or a tuple of str, not ", value.type_name()));
    }
    runtime.work(part->bytes.size() / 32 + 1);
    return text && (ends == Ends::left ? text->starts_with(part->bytes) : text->ends_with(part->bytes));
  };
  const Sequence* several = p[0]->sequence();
  if (several != nullptr && several->flavor == Flavor::tuple)
    return std::any_of(several->items.begin(), several->items.end(), fits);
  return fits(*p[0]);
}

enum class Missing : uint8_t { minus_one, error };

template <Ends from, Missing missing>
Value find_part(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "find", arguments, {"sub", "start", "end"}, 1);
  const Text& text = *self.text();
  const std::string& part = p.text(0).bytes;
  runtime.work(text.bytes.size() / 16 + 1);
  if (const auto within = window(text, p, 1)) {
    size_t at = from == Ends::left ? find_text(*within, part, 0) : std::string_view::npos;
    if (from == Ends::right) {
      for (size_t next = find_text(*within, part, 0); next != std::string_view::npos;
           next = find_text(*within, part, next + 1)) {
        runtime.work(1);
        at = next;
      }
    }
    if (at != std::string_view::npos) {
      const auto offset = static_cast<size_t>(within->data() - text.bytes.data()) + at;
      return static_cast<int64_t>(code_point_index(text, offset));
    }
  }
  if (missing == Missing::error) runtime.fail("ValueError", "substring not found");
  return int64_t{-1};
}

Value count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "count", arguments, {"sub", "start", "end"}, 1);
  const std::string& part = p.text(0).bytes;
  const auto within = window(*self.text(), p, 1);
  if (!within) return int64_t{0};
  if (part.empty()) return static_cast<int64_t>(code_points(*within) + 1);
  int64_t times = 0;
  runtime.work(within->size() / 16 + 1);
  for (size_t at = 0; (at = find_text(*within, part, at)) != std::string_view::npos; at += part.size()) {
    runtime.work(1);
    ++times;
  }
  return times;
}

Value replace(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "replace", arguments, {"old", "new", "count"}, 2);
  const std::string_view text = bytes(self);
  const std::string& old = p.text(0).bytes;
  const bool raw = self.text()->markup == Markup::yes && p.text(1).markup == Markup::no;
  const std::string with = raw ? escape(runtime, p.text(1).bytes) : p.text(1).bytes;
  int64_t left = p.integer(2, -1);
  TextBuilder out(runtime);
  size_t at = 0;
  for (; left != 0; --left) {
    const size_t next = find_text(text, old, at);
    if (next == std::string_view::npos) break;
    out.add(text.substr(at, next - at));
    out.add(with);
    at = next + old.size();
    if (!old.empty()) continue;
    if (at >= text.size()) return like(runtime, self, out.take());
    const size_t size = utf8_sequence_length(text[at]);
    out.add(text.substr(at, size));
    at += size;
  }
  out.add(text.substr(at));
  return like(runtime, self, out.take());
}

Value split(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "split", arguments, {"sep", "maxsplit"});
  const std::string_view text = bytes(self);
  const auto separator = p.maybe_text(0);
  int64_t left = p.integer(1, -1);
  auto out = make_sequence(runtime);
  const auto put = [&](std::string_view part) {
    append(runtime, *out, like(runtime, self, std::string(part)));
  };
  runtime.work(text.size() / 16);
  size_t at = 0;
  if (separator) {
    if (separator->empty()) runtime.fail("ValueError", "empty separator");
    for (; left != 0; --left) {
      const size_t next = find_text(text, *separator, at);
      if (next == std::string_view::npos) break;
      put(text.substr(at, next - at));
      at = next + separator->size();
    }
    put(text.substr(at));
    return out;
  }
  for (;; --left) {
    const std::string_view rest = strip(text.substr(at), std::nullopt, Ends::left);
    if (rest.empty()) return out;
    if (left == 0) {
      put(rest);
      return out;
    }
    size_t end = 0;
    while (end < rest.size()) {
      size_t next = end;
      if (is_space(next_code_point(rest, next))) break;
      end = next;
    }
    put(rest.substr(0, end));
    at = static_cast<size_t>(rest.data() - text.data()) + end;
  }
}

Value rsplit(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "rsplit", arguments, {"sep", "maxsplit"});
  int64_t left = p.integer(1, -1);
  if (left < 0) return split(runtime, self, arguments);
  const auto separator = p.maybe_text(0);
  if (separator && separator->empty()) runtime.fail("ValueError", "empty separator");
  std::string_view text = bytes(self);
  runtime.work(text.size() / 16);
  std::vector<std::string_view> parts;
  if (!separator) text = strip(text, std::nullopt, Ends::right);
  while (left > 0 && !text.empty()) {
    size_t begin = text.size(), end = text.size();
    if (separator) {
      end = text.rfind(*separator);
      runtime.work(1 + (end == text.npos ? text.size() : text.size() - end) * (1 + separator->size() / 32));
      if (end == text.npos) break;
      begin = end + separator->size();
    } else {
      while (begin > 0) {
        size_t before = begin;
        if (is_space(previous_code_point(text, before))) break;
        begin = before;
      }
      if (begin == 0) break;
      end = begin;
    }
    parts.push_back(text.substr(begin));
    text = text.substr(0, end);
    if (!separator) text = strip(text, std::nullopt, Ends::right);
    --left;
  }
  if (separator || !text.empty()) parts.push_back(text);
  auto out = make_sequence(runtime);
  for (auto part = parts.rbegin(); part != parts.rend(); ++part)
    append(runtime, *out, like(runtime, self, std::string(*part)));
  return out;
}

Value splitlines(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "splitlines", arguments, {"keepends"});
  runtime.work(bytes(self).size());
  auto out = make_sequence(runtime);
  for (std::string_view line : split_lines(bytes(self), p.flag(0, false) ? KeepEnds::yes : KeepEnds::no))
    append(runtime, *out, like(runtime, self, std::string(line)));
  return out;
}

template <Ends from>
Value partition(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "partition", arguments, {"sep"}, 1);
  const std::string_view text = bytes(self);
  const std::string& separator = p.text(0).bytes;
  if (separator.empty()) runtime.fail("ValueError", "empty separator");
  runtime.work(text.size() / 16 * (from == Ends::right ? 1 + separator.size() / 32 : 1) + 1);
  const size_t at = from == Ends::left ? find_text(text, separator, 0) : text.rfind(separator);
  auto out = make_sequence(runtime, Flavor::tuple);
  const auto put = [&](std::string_view part) {
    append(runtime, *out, like(runtime, self, std::string(part)));
  };
  if (at == text.npos) {
    put(from == Ends::left ? text : std::string_view());
    put({});
    put(from == Ends::left ? std::string_view() : text);
  } else {
    put(text.substr(0, at));
    put(separator);
    put(text.substr(at + separator.size()));
  }
  return out;
}

Value join(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "join", arguments, {"iterable"}, 1);
  const auto items = iterate(runtime, *p[0]);
  TextBuilder out(runtime);
  for (size_t i = 0; i < items->items.size(); ++i) {
    const Text* text = items->items[i].text();
    if (text == nullptr) {
      runtime.fail("TypeError", cat("sequence item ", i, ": expected str instance, ",
                                    items->items[i].type_name(), " found"));
    }
    if (i != 0) out.add(bytes(self));
    const bool raw = self.text()->markup == Markup::yes && text->markup == Markup::no;
    out.add(raw ? escape(runtime, text->bytes) : text->bytes);
  }
  return like(runtime, self, out.take());
}

enum class Align : uint8_t { left, right, center, zeros };

template <Align align>
Value padded(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Parameters p(runtime, "center", arguments, {"width", "fillchar"}, 1);
  const Text& text = *self.text();
  const std::string fill = align == Align::zeros ? "0" : p[1] != nullptr ? p.text(1).bytes : " ";
  if (code_points(fill) != 1)
    runtime.fail("TypeError", "The fill character must be exactly one character long");
  const int64_t room = std::max<int64_t>(p.integer(0, 0) - static_cast<int64_t>(text.length), 0);
  const int64_t width = p.integer(0, 0);
  const int64_t before = align == Align::left     ? 0
                         : align == Align::center ? room / 2 + (room & width & 1)
                                                  : room;
  TextBuilder out(runtime);
  std::string_view rest = text.bytes;
  if (align == Align::zeros && (rest.starts_with('-') || rest.starts_with('+'))) {
    out.add(rest.substr(0, 1));
    rest.remove_prefix(1);
  }
  out.fill(fill, before);
  out.add(rest);
  out.fill(fill, room - before);
  return like(runtime, self, out.take());
}

template <bool (*Is)(char32_t)>
Value all_are(Runtime& runtime, const Value& self, const Arguments& arguments) {
  no_arguments(runtime, "isalpha", arguments);
  runtime.work(bytes(self).size() / 8);
  for (size_t at = 0; at < bytes(self).size();) {
    if (!Is(next_code_point(bytes(self), at))) return false;
  }
  return !bytes(self).empty();
}

bool is_alphanumeric(char32_t c) { return is_alpha(c) || is_decimal(c) || is_digit(c) || is_numeric(c); }

/// isupper() and islower(): some letter that has a case, and none of the other.
template <bool (*Other)(char32_t)>
Value all_cased(Runtime& runtime, const Value& self, const Arguments& arguments) {
  no_arguments(runtime, "isupper", arguments);
  runtime.work(bytes(self).size() / 8);
  bool any = false;
  for (size_t at = 0; at < bytes(self).size();) {
    const char32_t c = next_code_point(bytes(self), at);
    if (Other(c)) return false;
    any = any || is_cased(c);
  }
  return any;
}

Value isascii(Runtime& runtime, const Value& self, const Arguments& arguments) {
  no_arguments(runtime, "isascii", arguments);
  return self.text()->ascii();
}

Value istitle(Runtime& runtime, const Value& self, const Arguments& arguments) {
  no_arguments(runtime, "istitle", arguments);
  runtime.work(bytes(self).size() / 8);
  bool any = false, in_word = false;
  for (size_t at = 0; at < bytes(self).size();) {
    const char32_t c = next_code_point(bytes(self), at);
    if (is_cased(c) && is_lower(c) != in_word) return false;
    in_word = is_cased(c);
    any = any || in_word;
  }
  return any;
}

}  // namespace

Native find_text_method(std::string_view name) {
  static constexpr NativeRow kRows[] = {
      {"strip", stripped<Ends::both>},
      {"lstrip", stripped<Ends::left>},
      {"rstrip", stripped<Ends::right>},
      {"split", split},
      {"startswith", has_end<Ends::left>},
      {"endswith", has_end<Ends::right>},
      {"replace", replace},
      {"upper", cased<Case::upper>},
      {"lower", cased<Case::lower>},
      {"casefold", cased<Case::lower>},
      {"title", cased<Case::title>},
      {"capitalize", cased<Case::capital>},
      {"swapcase", cased<Case::swap>},
      {"find", find_part<Ends::left, Missing::minus_one>},
      {"rfind", find_part<Ends::right, Missing::minus_one>},
      {"index", find_part<Ends::left, Missing::error>},
      {"rindex", find_part<Ends::right, Missing::error>},
      {"count", count},
      {"join", join},
      {"format", format_braces},
      {"rsplit", rsplit},
      {"splitlines", splitlines},
      {"partition", partition<Ends::left>},
      {"rpartition", partition<Ends::right>},
      {"removeprefix", without<Ends::left>},
      {"removesuffix", without<Ends::right>},
      {"ljust", padded<Align::left>},
      {"rjust", padded<Align::right>},
      {"center", padded<Align::center>},
      {"zfill", padded<Align::zeros>},
      {"isalpha", all_are<is_alpha>},
      {"isalnum", all_are<is_alphanumeric>},
      {"isdecimal", all_are<is_decimal>},
      {"isdigit", all_are<is_digit>},
      {"isnumeric", all_are<is_numeric>},
      {"isspace", all_are<is_space>},
      {"isprintable", all_are<is_printable>},
      {"isupper", all_cased<is_lower>},
      {"islower", all_cased<is_upper>},
      {"istitle", istitle},
      {"isascii", isascii},
  };
  return find_native(kRows, name);
}

}  // namespace gptq::jinja
