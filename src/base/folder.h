// Folders by the system's own calls; what is removed or renamed goes by open folders, so that nobody who puts a link in the
// place of one can turn that to another. The C++ library's directory iterators end the process when memory runs out, and
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
Descriptor open_folder(const Descriptor& parent, const std::string& name);

/// All but "." and "..", ascending. Status::not_found, Fault::io.
std::vector<std::string> list_folder(const std::filesystem::path& path);
/// Of an open folder; `path` is for messages.
std::vector<std::string> list_folder(const Descriptor& folder, const std::filesystem::path& path);

/// 0 where the name is that of the open folder, ESTALE where another one or a link has taken its place, or what went
/// wrong.
int check_named(const Descriptor& folder, const Descriptor& parent, const std::string& name);

/// Removes what is in the folder, some levels deep, then it itself under its name in `parent`; false when something
/// stays. Asks for no memory, and touches nothing else, whatever has the name by then.
bool remove_folder(const Descriptor& parent, const std::string& name, const Descriptor& folder);

}  // namespace gptq
