// Base64, as JSON files hold bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gptq {

/// With or without "=" at the end; nothing for a text that is not Base64.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace gptq
