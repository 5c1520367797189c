// CPU counts: affinity of the process, and the quota of its control groups.
#include "base/cpu_quota.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>
#include <string>
#include <thread>

#include "base/folder.h"
#include "base/kernel_file.h"
#include "base/thread_pool.h"

namespace gptq {
namespace {

namespace fs = std::filesystem;

std::optional<int64_t> leading_number(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;  // "max": no quota
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

std::optional<int> whole_cpus(std::optional<int64_t> quota, std::optional<int64_t> period) {
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  const int64_t cpus = (*quota - 1) / *period + 1;
  return static_cast<int>(std::min<int64_t>(cpus, std::numeric_limits<int>::max()));
}

std::optional<int> quota_v2(const fs::path& group) {
  const std::string text = read_kernel_file(join(group, "cpu.max"));  // "150000 100000" or "max 100000"
  std::string_view rest = text;
  const auto quota = leading_number(rest);
  return quota ? whole_cpus(quota, leading_number(rest)) : std::nullopt;
}

std::optional<int> quota_v1(const fs::path& group) {
  const std::string quota = read_kernel_file(join(group, "cpu.cfs_quota_us"));  // -1: none
  const std::string period = read_kernel_file(join(group, "cpu.cfs_period_us"));
  std::string_view quota_text = quota, period_text = period;
  return whole_cpus(leading_number(quota_text), leading_number(period_text));
}

bool lists_cpu(std::string_view controllers) {
  while (!controllers.empty()) {
    const size_t comma = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, comma) == "cpu") return true;
    controllers.remove_prefix(std::min(comma + 1, controllers.size()));
  }
  return false;
}

void lower(std::optional<int>& least, std::optional<int> other) {
  if (other && (!least || *other < *least)) least = other;
}

}  // namespace

std::optional<int> cgroup_cpus(const fs::path& mount, std::string_view membership) {
  std::optional<int> least;
  while (!membership.empty()) {  // lines "ID:CONTROLLERS:/PATH"; version 2 has "0::/PATH"
    const size_t line_end = std::min(membership.find('\n'), membership.size());
    const std::string_view line = membership.substr(0, line_end);
    membership.remove_prefix(std::min(line_end + 1, membership.size()));
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && !lists_cpu(controllers)) continue;
    const fs::path root = v2 ? mount : join(mount, "cpu");
    // inside a container the path may be the host's and absent here; then the root is the group itself
    fs::path group = fs::path(line.substr(second + 1)).lexically_normal().relative_path();
    while (true) {
      lower(least, v2 ? quota_v2(join(root, group.native())) : quota_v1(join(root, group.native())));
      if (group.empty()) break;
      group = group.parent_path();
    }
  }
  return least;
}

int available_cpus() {
  int count = static_cast<int>(std::thread::hardware_concurrency());
  for (int room = 1024; room <= 1 << 20; room *= 4) {  // EINVAL: the machine has more CPUs than that
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(room));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(room));
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    if (known) count = CPU_COUNT_S(bytes, set);
    CPU_FREE(set);
    if (known || errno != EINVAL) break;
  }
  if (const auto quota = cgroup_cpus("/sys/fs/cgroup", read_kernel_file("/proc/self/cgroup"))) {
    count = std::min(count, *quota);
  }
  return std::max(count, 1);
}

}  // namespace gptq
