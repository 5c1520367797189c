// See regex_property.h.
#include "text/regex_property.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/text.h"

namespace gptq {

namespace {

// Up to 10.39 a script's name means Script, as it does for Oniguruma, from 10.40 on Script_Extensions.
#if PCRE2_MAJOR == 10 && PCRE2_MINOR < 40
constexpr std::string_view kScript = "";
#else
constexpr std::string_view kScript = "sc:";
#endif

struct Name {
  std::string_view name;   // in lower case, without what names may be written with
  std::string_view pcre2;  // empty: the same
};

constexpr Name kCategories[] = {
    {"letter", "L"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"casedletter", "L&"},
    {"lc", "L&"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"combiningmark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"digit", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"other", "C"},
    {"control", "Cc"},
    {"cntrl", "Cc"},
    {"format", "Cf"},
    {"surrogate", "Cs"},
    {"privateuse", "Co"},
    {"unassigned", "Cn"},
    {"any", "Any"},
};

constexpr Name kProperties[] = {
    {"alpha", "Alphabetic"},
    {"alphabetic", {}},
    {"upper", "Uppercase"},
    {"uppercase", {}},
    {"lower", "Lowercase"},
    {"lowercase", {}},
    {"space", "White_Space"},
    {"whitespace", {}},
    {"xdigit", "ASCII_Hex_Digit"},
    {"asciihexdigit", {}},
    {"hexdigit", {}},
    {"ascii", {}},
    {"emoji", {}},
    {"emojicomponent", {}},
    {"emojimodifier", {}},
    {"emojimodifierbase", {}},
    {"emojipresentation", {}},
    {"extendedpictographic", {}},
    {"ideographic", {}},
    {"unifiedideograph", {}},
    {"cased", {}},
    {"caseignorable", {}},
    {"dash", {}},
    {"diacritic", {}},
    {"extender", {}},
    {"idstart", {}},
    {"idcontinue", {}},
    {"xidstart", {}},
    {"xidcontinue", {}},
    {"joincontrol", {}},
    {"math", {}},
    {"quotationmark", {}},
    {"radical", {}},
    {"regionalindicator", {}},
    {"softdotted", {}},
    {"variationselector", {}},
    {"graphemebase", {}},
    {"graphemeextend", {}},
    {"defaultignorablecodepoint", {}},
    {"patternsyntax", {}},
    {"patternwhitespace", {}},
};

// Classes that are more than one property.
constexpr std::string_view kUnknown[] = {"alnum", "blank", "graph", "print", "punct", "word"};

}  // namespace

std::optional<std::string> pcre2_property(std::string_view name) {
  const bool negated = name.starts_with('^');
  if (negated) name.remove_prefix(1);
  std::string plain;
  for (char c : name) {
    if (c != ' ' && c != '_' && c != '-')
      plain += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  const std::string_view sign = negated ? "^" : "";
  for (const std::string_view unknown : kUnknown) {
    if (plain == unknown) return std::nullopt;
  }
  for (const auto& [known, pcre2] : kCategories) {
    if (plain == known) return cat(sign, pcre2);
  }
  for (const auto& [known, pcre2] : kProperties) {
    if (plain == known) return cat(sign, pcre2.empty() ? name : pcre2);
  }
  if (plain.size() <= 2 || name.find_first_of(":=") != std::string_view::npos) return cat(sign, name);
  return cat(sign, kScript, name);
}

}  // namespace gptq
