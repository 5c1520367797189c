// Names of Unicode properties in regular expressions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gptq {

/// What PCRE2 calls the property that Oniguruma calls `name` (the text between the braces of \p{...}); nothing for a
/// class of characters that PCRE2 has no name for. Scripts are not checked: PCRE2 refuses unknown ones.
std::optional<std::string> pcre2_property(std::string_view name);

}  // namespace gptq
