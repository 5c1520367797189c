// Folders by the system's own calls. The C++ library's directory iterators end the process when memory runs out, and
// its path / name frees what it does not own when the path ends in a slash: neither is used here.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/descriptor.h"

namespace gptq {

/// "FOLDER/NAME"
std::filesystem::path join(const std::filesystem::path& folder, std::string_view name);

std::filesystem::path absolute_path(const std::filesystem::path& path);
/// Without links, "." and ".."; empty, and errno set, where that fails.
std::filesystem::path real_path(const std::filesystem::path& path);

/// Not of a link. Its get() is negative, and errno set, where that fails.
Descriptor open_folder(const std::filesystem::path& path);

/// All but "." and "..", ascending. Status::not_found, Fault::io.
std::vector<std::string> list_folder(const std::filesystem::path& path);

/// Removes what is in the folder, some levels deep, then it itself; false when something stays. Asks for no memory.
bool remove_folder(const std::filesystem::path& path, const Descriptor& open);

}  // namespace gptq
