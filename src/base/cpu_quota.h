// How many CPUs the control groups of a process let it use.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

namespace gptq {

/// The least quota of a process's control groups and their ancestors, in whole CPUs rounded up; empty without one.
/// `mount` is /sys/fs/cgroup, `membership` the text of /proc/self/cgroup (version 1, 2 or both).
std::optional<int> cgroup_cpus(const std::filesystem::path& mount, std::string_view membership);

}  // namespace gptq
