#include "support/families.h"

#include <algorithm>
#include <cctype>

#include "support/test_data.h"

namespace gptq::test {
std::vector<std::string> checkpoints(const std::string& kind) {
  const auto root = extra_data(kind);
  if (!root) return {kind};
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(*root)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory()) names.push_back(kind + "/" + name);
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
