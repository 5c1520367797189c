// Files in which the kernel tells about itself and its processes.
#pragma once

#include <filesystem>
#include <string>

namespace gptq {

/// The first 16 KiB; such files have no size to ask for. Empty if it can't be read.
std::string read_kernel_file(const std::filesystem::path& path);

}  // namespace gptq
