// Checkpoints that GPTQModel wrote: read, compared with labels, and written again byte for byte.
#include <cstring>
#include <map>

#include "format/checkpoint.h"
#include "format/format_support.h"
#include "format/layout.h"
#include "format/written_module.h"

namespace gptq {
namespace {

/// Module name -> in_features, out_features, by its scales and g_idx.
std::map<std::string, std::pair<int64_t, int64_t>> modules_of(const Checkpoint& checkpoint) {
  std::map<std::string, std::pair<int64_t, int64_t>> modules;
  constexpr std::string_view kSuffix = ".qweight";
  for (const TensorInfo& info : checkpoint.tensors()) {
    if (!info.name.ends_with(kSuffix)) continue;
    const std::string name = info.name.substr(0, info.name.size() - kSuffix.size());
    modules[name] = {checkpoint.find(name + ".g_idx")->shape[0], info.shape[1]};
  }
  return modules;
}

void check_module(const Checkpoint& checkpoint, const std::string& name, const QuantConfig& config, int64_t k,
                  int64_t n) {
  const QTensor q = read_module(checkpoint, name, config, k, n);
  EXPECT_NO_THROW(validate(q, name));
  EXPECT_EQ(q.bits, config.bits);
  bool has_zero = false;
  for (uint16_t zero : q.zeros) {
    has_zero = has_zero || zero == 0;
    if (config.symmetry == Symmetry::symmetric) {
      ASSERT_EQ(zero, 1 << (q.bits - 1));
    }
  }
  if (has_zero && config.format == QuantFormat::gptq)
    return;  // such words can't be told from others: see the formats
  for (const NamedBytes& tensor : write_module(q, name, shape_of(q), config.format)) {
    const Tensor original = checkpoint.read(tensor.name, Access::map);
    ASSERT_EQ(original.bytes, tensor.bytes.size()) << tensor.name;
    EXPECT_EQ(std::memcmp(original.data, tensor.bytes.data(), tensor.bytes.size()), 0) << tensor.name;
  }
}

TEST(GptqModelFiles, AreReadAndWrittenAgainByteForByte) {
  GPTQ_EXTRA_DATA(root, "gptq");
  int read = 0;
  for (const auto& folder : fs::directory_iterator(root)) {
    const std::string name = folder.path().filename().string();
    if (!folder.is_directory() || name == "llama-awq-g32" || name == "llama-mixed") continue;
    SCOPED_TRACE(name);
    const auto config = read_quant_config(folder.path());
    ASSERT_TRUE(config.has_value());
    EXPECT_TRUE(config->producer_is_gptqmodel);
    const auto checkpoint = open_checkpoint(folder.path());
    const auto modules = modules_of(*checkpoint);
    EXPECT_FALSE(modules.empty());
    for (const auto& [module, size] : modules) {
      check_module(*checkpoint, module, *config, size.first, size.second);
    }
    ++read;
  }
  EXPECT_GT(read, 10);
}

TEST(HuggingFaceFiles, AllFamiliesOpen) {
  GPTQ_EXTRA_DATA(root, "families");
  int opened = 0;
  for (const auto& folder : fs::directory_iterator(root)) {
    if (!folder.is_directory()) continue;
    const auto checkpoint = open_checkpoint(folder.path());
    for (const TensorInfo& info : checkpoint->tensors()) {
      ASSERT_EQ(checkpoint->read(info.name, Access::read).bytes, info.bytes) << folder << info.name;
    }
    EXPECT_FALSE(read_quant_config(folder.path()).has_value()) << folder;
    ++opened;
  }
  EXPECT_GT(opened, 10);
}

}  // namespace
}  // namespace gptq
