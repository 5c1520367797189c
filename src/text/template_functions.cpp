// The functions that every template finds: range(), namespace(), raise_exception() and their like.
#include <algorithm>
#include <array>

#include "base/text.h"
#include "text/template_library.h"
#include "text/template_text.h"

namespace gptq::jinja {
namespace {

Value range(Runtime& runtime, const Value&, const Arguments& arguments) {
  const Parameters p(runtime, "range", arguments, {"start", "stop", "step"}, 1);
  const int64_t first = p[1] == nullptr ? 0 : p.integer(0, 0), last = p.integer(p[1] == nullptr ? 0 : 1, 0);
  const int64_t step = p.integer(2, 1);
  if (step == 0) runtime.fail("ValueError", "range() arg 3 must not be zero");
  auto out = make_sequence(runtime, Flavor::range);
  out->label = cat("range(", first, ", ", last, step == 1 ? ")" : cat(", ", step, ")"));
  for (int64_t i = first; step > 0 ? i < last : i > last;) {
    if (static_cast<int64_t>(out->items.size()) == kMaxRange) {
      runtime.fail("OverflowError",
                   cat("Range too big. The sandbox blocks ranges larger than MAX_RANGE (", kMaxRange, ")."));
    }
    append(runtime, *out, i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return out;
}

/// What dict() and namespace() are given: pairs, or a dict, and named arguments.
std::shared_ptr<Dict> dict_of(Runtime& runtime, const Arguments& arguments) {
  auto out = make_dict(runtime);
  if (arguments.positional.size() > 1) {
    runtime.fail("TypeError", cat("dict expected at most 1 argument, got ", arguments.positional.size()));
  }
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional[0];
    if (const Dict* dict = from.dict()) {
      for (const auto& [key, value] : dict->items) out->set(runtime, key, value);
    } else {
      for (const Value& pair : iterate(runtime, from)) {
        const auto both = iterate(runtime, pair);
        if (both->items.size() != 2) {
          runtime.fail("ValueError", cat("dictionary update sequence element #", out->items.size(),
                                         " has length ", both->items.size(), "; 2 is required"));
        }
        out->set(runtime, both->items[0], both->items[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) out->set(runtime, make_text(runtime, name), value);
  return out;
}

Value dict(Runtime& runtime, const Value&, const Arguments& arguments) { return dict_of(runtime, arguments); }

Value name_space(Runtime& runtime, const Value&, const Arguments& arguments) {
  Namespace* names = runtime.make_namespace();
  const auto given = dict_of(runtime, arguments);
  for (const auto& [key, value] : given->items) {
    if (!key.is_text()) runtime.fail("TypeError", "names in a namespace must be texts");
    names->set(runtime, key.text()->bytes, value);
  }
  return names;
}

Value raise_exception(Runtime& runtime, const Value&, const Arguments& arguments) {
  const Parameters p(runtime, "raise_exception", arguments, {"message"}, 1);
  runtime.fail("TemplateError", to_string(runtime, *p[0]));
}

std::string two_digits(int value, char fill = '0') {
  std::string text = cat(value);
  return text.size() < 2 ? std::string(1, fill) + text : text;
}

int week_of_year(const std::tm& t, int first_day) {
  return (t.tm_yday + 7 - (t.tm_wday - first_day + 7) % 7) / 7;
}

/// One directive of strftime() in the C locale; empty for one that is not known.
std::string time_part(const std::tm& t, char directive) {
  constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                     "Thursday", "Friday", "Saturday"};
  constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                        "May",       "June",     "July",     "August",
                                                        "September", "October",  "November", "December"};
  const auto all = [&t](std::string_view directives) {
    std::string out;
    for (char c : directives)
      out += c == '/' || c == ':' || c == '-' || c == ' ' ? std::string(1, c) : time_part(t, c);
    return out;
  };
  const std::string_view day = kDays[static_cast<size_t>(t.tm_wday)];
  const std::string_view month = kMonths[static_cast<size_t>(t.tm_mon)];
  const int hour = t.tm_hour % 12 == 0 ? 12 : t.tm_hour % 12;
  switch (directive) {
    case 'Y': return cat(t.tm_year + 1900);
    case 'y': return two_digits((t.tm_year + 1900) % 100);
    case 'm': return two_digits(t.tm_mon + 1);
    case 'd': return two_digits(t.tm_mday);
    case 'e': return two_digits(t.tm_mday, ' ');
    case 'H': return two_digits(t.tm_hour);
    case 'k': return two_digits(t.tm_hour, ' ');
    case 'I': return two_digits(hour);
    case 'l': return two_digits(hour, ' ');
    case 'M': return two_digits(t.tm_min);
    case 'S': return two_digits(t.tm_sec);
    case 'f': return "000000";
    case 'p': return t.tm_hour < 12 ? "AM" : "PM";
    case 'P': return t.tm_hour < 12 ? "am" : "pm";
    case 'A': return std::string(day);
    case 'a': return std::string(day.substr(0, 3));
    case 'B': return std::string(month);
    case 'b':
    case 'h': return std::string(month.substr(0, 3));
    case 'j': return cat(t.tm_yday < 9 ? "00" : t.tm_yday < 99 ? "0" : "", t.tm_yday + 1);
    case 'u': return cat(t.tm_wday == 0 ? 7 : t.tm_wday);
    case 'w': return cat(t.tm_wday);
    case 'U': return two_digits(week_of_year(t, 0));
    case 'W': return two_digits(week_of_year(t, 1));
    case 'C': return two_digits((t.tm_year + 1900) / 100);
    case 'D':
    case 'x': return all("m/d/y");
    case 'F': return all("Y-m-d");
    case 'T':
    case 'X': return all("H:M:S");
    case 'R': return all("H:M");
    case 'r': return all("I:M:S p");
    case 'c': return all("a b e T Y");
    case 'n': return "\n";
    case 't': return "\t";
    case '%': return "%";
    default: return {};  // also of the time zone: it is a time without one
  }
}

/// "%-d" leaves out the leading zero, as glibc has it.
Value strftime_now(Runtime& runtime, const Value&, const Arguments& arguments) {
  const Parameters p(runtime, "strftime_now", arguments, {"format"}, 1);
  const std::string_view format = p.text(0).bytes;
  TextBuilder out(runtime);
  for (size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%' || at + 1 == format.size()) {
      out.add(format.substr(at, 1));
      continue;
    }
    ++at;
    const bool bare = format[at] == '-' && at + 1 < format.size();
    if (bare) ++at;
    std::string part = time_part(runtime.now(), format[at]);
    while (bare && part.size() > 1 && (part[0] == '0' || part[0] == ' ')) part.erase(0, 1);
    out.add(part);
  }
  return make_text(runtime, out.take());
}

}  // namespace

Native find_function(std::string_view name) {
  static constexpr NativeRow kRows[] = {{"range", range},
                                        {"dict", dict},
                                        {"namespace", name_space},
                                        {"raise_exception", raise_exception},
                                        {"strftime_now", strftime_now}};
  return find_native(kRows, name);
}

}  // namespace gptq::jinja
