// Each family quantized: every Linear of every layer, and the folder computes with exactly the weights that it holds.
#include <algorithm>
#include <string>
#include <vector>

#include "model/loader.h"
#include "quant/dequantized.h"
#include "quant/job.h"
#include "support/families.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

const Progress kQuiet = [](int64_t, int64_t, const std::string&) {};

/// A tokens's worth of everything: ids that follow no pattern of the vocabulary.
std::vector<int32_t> some_tokens(int64_t vocab, int32_t seed) {
  std::vector<int32_t> ids(48);
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>((static_cast<int64_t>(i) * 37 + seed * 101 + 11) % vocab);
  return ids;
}

void quantize(const fs::path& source, const fs::path& target, TrueSequential sequential) {
  QuantOptions options;
  options.calibration_samples = 12;
  options.calibration_length = 16;
  options.solver.group_size = 32;
  options.solver.target = Target::exact;
  options.true_sequential = sequential;
  ModelOptions model;
  model.backend.threads = 2;
  Job job(source, target, model, options, kQuiet);
  const int64_t vocab = Loader(source).spec().vocab, context = Loader(source).spec().context;
  for (int32_t s = 0; s < 12; ++s) {
    std::vector<int32_t> ids = some_tokens(vocab, s);
    ids.resize(std::min(ids.size(), static_cast<size_t>(context)));
    job.add_tokens(ids);
  }
  while (job.step() == JobStep::more) continue;
}

class QuantizedFamily : public testing::TestWithParam<std::string> {};

TEST_P(QuantizedFamily, ComputesWithTheWeightsOfItsFolder) {
  const bool golden = GetParam().starts_with("golden/");
  if (!golden && !extra_data(GetParam())) GTEST_SKIP() << GetParam() << ": no extra data";
  const fs::path source =
      golden ? source_dir() / "tests/golden/models" / GetParam().substr(7) : *extra_data(GetParam());
  const Spec spec = load_spec(source);
  const Stored stored = spec.traits.storage == Storage::in_out ? Stored::in_out : Stored::out_in;
  const std::vector<int32_t> ids = read_reference(source).input_ids[0];
  const auto whole = static_cast<int64_t>(ids.size());
  for (TrueSequential sequential : {TrueSequential::yes, TrueSequential::no}) {
    const TemporaryFolder folder;
    quantize(source, folder / "out", sequential);
    const Loader loader(folder / "out");
    for (int64_t i = 0; i < loader.spec().layers; ++i) {
      for (const StoredLinear& linear : loader.modules(i)) {
        EXPECT_NE(linear.quantized, linear.stays()) << linear.path;
        EXPECT_FALSE(linear.stacked) << linear.path;
      }
    }
    write_dequantized(folder / "out", folder / "dense", stored);
    EXPECT_LE(relative_difference(causal_logits(load_model(folder / "out"), ids, whole),
                                  causal_logits(load_model(folder / "dense"), ids, whole)),
              2e-4);
  }
}

/// The same of committed folders: widths that no group divides, layers of several kinds.
INSTANTIATE_TEST_SUITE_P(Golden, QuantizedFamily,
                         testing::Values("golden/deepseek-v2-groups", "golden/deepseek-v3-yarn",
                                         "golden/minicpm3", "golden/qwen3-next-dense-first",
                                         "golden/qwen3-5-short-conv"),
                         folder_test_name);
INSTANTIATE_TEST_SUITE_P(Families, QuantizedFamily, testing::ValuesIn(checkpoints("families")),
                         folder_test_name);

}  // namespace
}  // namespace gptq::test
