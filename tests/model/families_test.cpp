// Every family and variant against logits and greedy continuations computed by transformers.
#include <string>
#include <vector>

#include "support/reference.h"

namespace gptq::test {
namespace {

class FamilyTest : public testing::TestWithParam<std::string> {};

TEST_P(FamilyTest, EqualsTransformers) {
  GPTQ_EXTRA_DATA(folder, GetParam());
  expect_reference(folder);
}

INSTANTIATE_TEST_SUITE_P(Dense, FamilyTest,
                         testing::Values("families/llama", "families/llama-bias",
                                         "families/llama-rope-linear", "families/llama-rope-dynamic",
                                         "families/llama-rope-yarn", "families/llama3-rope",
                                         "families/mistral", "families/qwen2", "families/qwen2-sliding",
                                         "families/gpt2"));

INSTANTIATE_TEST_SUITE_P(Quantized, FamilyTest,
                         testing::Values("gptq/llama-b4-g16-static", "gptq/llama-b4-g32",
                                         "gptq/llama-b4-g32-actorder", "gptq/llama-b4-g32-v1-asym",
                                         "gptq/llama-b4-g32-v2-asym", "gptq/llama-b4-perchannel",
                                         "gptq/qwen2-b4-g32", "gptq/gpt2-b4-g32", "gptq/llama-b2-g16",
                                         "gptq/llama-b2-g16-v2-asym-actorder", "gptq/llama-b3-g32",
                                         "gptq/llama-b3-g32-v2-asym", "gptq/llama-b8-g32",
                                         "gptq/llama-b8-perchannel-v2-asym", "gptq/llama-mixed",
                                         "gptq/llama-awq-g32"));

/// Folders of tests/golden/models, committed: these never skip.
std::vector<std::string> golden_folders() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(source_dir() / "tests/golden/models")) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  return names;
}

class GoldenModelTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenModelTest, EqualsTransformers) {
  expect_reference(source_dir() / "tests/golden/models" / GetParam());
}

INSTANTIATE_TEST_SUITE_P(Golden, GoldenModelTest, testing::ValuesIn(golden_folders()));

}  // namespace
}  // namespace gptq::test
