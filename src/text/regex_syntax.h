// Regular expressions as tokenizer files write them (Oniguruma's Ruby syntax), rewritten for PCRE2.
#pragma once

#include <string>
#include <string_view>

namespace gptq {

/// The same language for PCRE2 with UTF, UCP and MULTILINE: \s, \w, \h, \v, \b, (?m) and {,n} mean different things
/// in the two. Throws Fault::unsupported, naming `where`, for what PCRE2 lacks or would read as something else.
std::string pcre2_syntax(std::string_view pattern, std::string_view where);

}  // namespace gptq
