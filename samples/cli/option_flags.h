// The flags of the tool that stand for options of the library.
#pragma once

#include <string>
#include <string_view>

namespace cli {

/// "--bits" of the key "bits"; empty for a key that no flag sets.
std::string_view flag_of(std::string_view key);

/// The message with flags for what the library calls option 'KEY', or option 'KEY' = VALUE.
std::string in_flags(std::string_view message);

}  // namespace cli
