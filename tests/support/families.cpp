#include "support/families.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "support/test_data.h"

namespace gptq::test {
namespace {

/// Families whose kinds of block are not built yet.
constexpr std::string_view kToCome[] = {
    "deepseek_v2", "deepseek_v3", "minicpm3", "qwen3_next", "qwen3_5_text",
};

}  // namespace

std::vector<std::string> checkpoints(const std::string& kind) {
  const auto root = extra_data(kind);
  if (!root) return {kind};
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(*root)) {
    const std::string name = entry.path().filename().string();
    const bool comes = std::any_of(std::begin(kToCome), std::end(kToCome), [&](std::string_view family) {
      return name == family || name.starts_with(std::string(family) + "-");
    });
    if (entry.is_directory() && !comes) names.push_back(kind + "/" + name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string folder_test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param.substr(info.param.find('/') + 1);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

}  // namespace gptq::test
