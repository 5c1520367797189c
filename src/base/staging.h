// Names of unfinished outputs: hidden, beside their target, with the process that makes them in the name.
#pragma once

#include <string>
#include <string_view>

#include "base/file.h"

namespace gptq {

/// Eight hexadecimal digits.
std::string random_digits();

/// ".NAME.partial-", to be followed by PID-RANDOM; cut so that the whole stays a legal file name.
std::string staging_prefix(const fs::path& target);
/// A new name of that kind.
std::string staging_name(std::string_view prefix);

/// Removes the files and folders of such names, in the open folder `parent` at `path`, whose makers are dead.
void remove_stale(const Descriptor& parent, const fs::path& path, std::string_view prefix);

}  // namespace gptq
