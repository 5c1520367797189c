// Exports as GGUF: every value in its place, exact where the table in gguf_export.h says so; what is refused.
#include "quant/gguf_export.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/half.h"
#include "base/log.h"
#include "base/staged_file.h"
#include "format/gguf_blocks.h"
#include "model/loader.h"
#include "quant/gguf_model.h"
#include "quant/gguf_tokenizer.h"
#include "support/test_data.h"

namespace gptq::test {
namespace {

const Progress kQuiet = [](int64_t, int64_t, const std::string&) {};

fs::path golden(std::string_view name) { return source_dir() / "tests/golden/models" / name; }

/// What the log said while this lived.
class LogText {
 public:
  LogText() {
    set_log_level(LogLevel::info);
    set_log_sink(
        [](void* to, int32_t, const char* text, int64_t size) {
          static_cast<std::string*>(to)->append(text, static_cast<size_t>(size)).append("\n");
        },
        &text_);
  }
  ~LogText() {
    set_log_sink(nullptr, nullptr);
    set_log_level(LogLevel::warning);  // as it was
  }
  bool has(std::string_view part) const { return text_.find(part) != std::string::npos; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::vector<float> rows_of(const GgufFile& file, const GgufTensor& tensor) {
  const auto cols = static_cast<size_t>(tensor.cols());
  std::vector<float> values(static_cast<size_t>(tensor.rows()) * cols);
  for (int64_t row = 0; row < tensor.rows(); ++row) {
    unpack_gguf_row(tensor.type, file.read_rows(tensor, row, 1),
                    std::span(values).subspan(static_cast<size_t>(row) * cols, cols));
  }
  return values;
}

/// [out, in] as the model computes with it.
std::vector<float> weight_of(const Loader& loader, const StoredLinear& linear) {
  if (!linear.quantized) return to_float(loader.dense_weight(linear, Access::read));
  const QTensor q = loader.quantized_weight(linear.path, linear.in_features, linear.out_features);
  std::vector<float> values(q.codes.size());
  for (int64_t row = 0; row < q.rows; ++row) dequantize_row(q, row, values.data() + row * q.cols);
  return values;
}

/// Rows of each head: the first half's and the second half's in turn, written down here anew.
std::vector<float> in_pairs(const std::vector<float>& values, size_t head_dim, size_t cols) {
  std::vector<float> out;
  for (size_t head = 0; head < values.size() / cols; head += head_dim) {
    for (size_t i = 0; i < head_dim / 2; ++i) {
      for (size_t row : {head + i, head + head_dim / 2 + i}) {
        out.insert(out.end(), values.begin() + static_cast<ptrdiff_t>(row * cols),
                   values.begin() + static_cast<ptrdiff_t>((row + 1) * cols));
      }
    }
  }
  return out;
}

double relative_error(const std::vector<float>& found, const std::vector<float>& wanted) {
  double error = 0, power = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    error += std::pow(double{found[i]} - double{wanted[i]}, 2);
    power += std::pow(double{wanted[i]}, 2);
  }
  return std::sqrt(error / power);
}

struct Case {
  std::string folder;  // of the golden models, or of the extra data
  GgufType type;       // of the layers' matrices
  double error;        // relative, at most
  std::optional<GgufType> asked{};
};

class GgufExport : public testing::TestWithParam<Case> {};

TEST_P(GgufExport, HoldsTheWeights) {
  const Case& wanted = GetParam();
  const auto source = wanted.folder.find('/') == std::string::npos ? std::optional(golden(wanted.folder))
                                                                   : extra_data(wanted.folder);
  if (!source) GTEST_SKIP() << "needs " << wanted.folder << " below $GPTQ_TEST_DATA";
  const TemporaryFolder folder;
  export_gguf(*source, folder / "x.gguf", {.type = wanted.asked}, kQuiet);
  const GgufFile file(folder / "x.gguf");
  const Loader loader(*source);
  const Spec& spec = loader.spec();
  const GgufArch& arch = gguf_arch_of(*spec.family);
  size_t seen = 0;
  bool rounded = wanted.error == 0;
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    for (const StoredLinear& linear : loader.modules(layer)) {
      const std::string name = gguf_layer_name(layer, gguf_part(*linear.module));
      const GgufTensor* tensor = file.header().find(name + ".weight");
      ASSERT_NE(tensor, nullptr) << name;
      const int64_t in = linear.in_features, out = linear.out_features;
      EXPECT_EQ(tensor->shape, (std::vector<int64_t>{out, in}));
      const bool narrow = in % 32 != 0 || wanted.type == GgufType::f16;  // to BF16 where that alone is exact
      EXPECT_TRUE(tensor->type == (narrow ? GgufType::f16 : wanted.type) ||
                  (narrow && tensor->type == GgufType::bf16))
          << name << " " << gguf_type_name(static_cast<uint32_t>(tensor->type));
      const bool pairs = arch.name == "llama" && (name.ends_with("attn_q") || name.ends_with("attn_k"));
      std::vector<float> weight = weight_of(loader, linear);
      if (pairs) weight = in_pairs(weight, static_cast<size_t>(spec.head_dim), static_cast<size_t>(in));
      const std::vector<float> found = rows_of(file, *tensor);
      if (wanted.error == 0) {
        EXPECT_EQ(found, weight) << name;
      } else {
        EXPECT_LE(relative_error(found, weight), wanted.error) << name;
        rounded = rounded || found != weight;
      }
      ++seen;
      const GgufTensor* bias = file.header().find(name + ".bias");
      if (const auto stored = loader.bias(linear, Access::read)) {
        ASSERT_NE(bias, nullptr) << name;
        std::vector<float> values = to_float(*stored);
        if (pairs) values = in_pairs(values, static_cast<size_t>(spec.head_dim), 1);
        EXPECT_EQ(rows_of(file, *bias), values) << name;
        EXPECT_EQ(bias->type, GgufType::f32);
        ++seen;
      }
    }
  }
  EXPECT_TRUE(rounded) << "is exact";
  const bool layer_norm = spec.traits.norm == NormKind::layer;
  seen += static_cast<size_t>(2 * spec.layers + 1) * (layer_norm ? 2 : 1);  // norms
  seen +=
      1 + (loader.tied() ? 0 : 1) + (layer_norm ? 1 : 0) + (spec.rope().kind == RopeKind::llama3);  // tables
  EXPECT_EQ(file.header().tensors().size(), seen);
  for (const GgufTensor& tensor : file.header().tensors()) {
    if (tensor.name.find("norm") == std::string::npos) continue;
    EXPECT_EQ(tensor.type, GgufType::f32) << tensor.name;
  }
  const std::string prefix = std::string(arch.name) + ".";
  EXPECT_EQ(*file.header().text("general.architecture"), arch.name);
  EXPECT_EQ(file.header().integer(prefix + "block_count", 0, 99), spec.layers);
  EXPECT_EQ(file.header().integer(prefix + "vocab_size", 0, 1 << 20), spec.vocab);
}

INSTANTIATE_TEST_SUITE_P(
    Folders, GgufExport,
    testing::Values(
        Case{"llama", GgufType::f16, 0}, Case{"families/llama", GgufType::f16, 1e-3},
        Case{"llama", GgufType::q8_0, 0.02, GgufType::q8_0},
        Case{"llama", GgufType::q4_0, 0.2, GgufType::q4_0},
        Case{"llama", GgufType::q4_1, 0.2, GgufType::q4_1}, Case{"gpt2", GgufType::f16, 0},
        Case{"families/gpt2", GgufType::f16, 1e-3}, Case{"llama-f16-old", GgufType::f16, 0},
        Case{"llama-bias-tied", GgufType::f16, 1e-3}, Case{"llama-llama3", GgufType::f16, 0},
        Case{"mistral", GgufType::f16, 0}, Case{"qwen2", GgufType::f16, 0},
        Case{"gptq-b4-g16", GgufType::q8_0, 0.01}, Case{"gptq-b4-g16", GgufType::f16, 1e-3, GgufType::f16},
        Case{"gptq-b3-g32-v1-asym", GgufType::q4_0, 0}, Case{"gptq-b8-perchannel", GgufType::q8_0, 0},
        Case{"gptq/llama-b4-g32", GgufType::q4_0, 0}, Case{"gptq/llama-b4-perchannel", GgufType::q4_0, 0},
        Case{"gptq/gpt2-b4-g32", GgufType::q4_0, 0}, Case{"gptq/qwen2-b4-g32", GgufType::q4_0, 0},
        Case{"gptq/llama-b3-g32", GgufType::q4_0, 0}, Case{"gptq/llama-b3-g32-v2-asym", GgufType::q4_0, 0},
        Case{"gptq/llama-b8-g32", GgufType::q8_0, 0}, Case{"gptq/llama-b4-g32-v1-asym", GgufType::q4_1, 5e-4},
        Case{"gptq/llama-b4-g32-v1-asym", GgufType::q8_0, 0, GgufType::q8_0},
        Case{"gptq/llama-b4-g32-v2-asym", GgufType::q4_1, 5e-4},
        Case{"gptq/llama-awq-g32", GgufType::q4_1, 5e-4},
        Case{"gptq/llama-b4-g32-actorder", GgufType::q8_0, 0.01},
        Case{"gptq/llama-b2-g16", GgufType::q8_0, 0.01}),
    [](const auto& info) {
      std::string name = info.param.folder + "_" + gguf_type_name(static_cast<uint32_t>(info.param.type));
      std::replace_if(
          name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
      return name + std::to_string(info.index);
    });

TEST(GgufExportLog, SaysWhatWasRounded) {
  const TemporaryFolder folder;
  const LogText log;
  export_gguf(golden("gptq-b4-g16-v2-asym-actorder"), folder / "x.gguf", {}, kQuiet);
  EXPECT_TRUE(log.has("rounded anew to Q8_0")) << log.text();
  EXPECT_TRUE(log.has("model.layers.0.self_attn.q_proj")) << log.text();
  EXPECT_TRUE(log.has("no tokenizer")) << log.text();
  export_gguf(golden("mistral"), folder / "y.gguf", {}, kQuiet);
  EXPECT_TRUE(log.has("sliding window")) << log.text();
  export_gguf(golden("llama-dynamic"), folder / "z.gguf", {}, kQuiet);
  EXPECT_TRUE(log.has("'dynamic' rope")) << log.text();
}

TEST(GgufExportErrors, AreNamedAndLeaveNothing) {
  const TemporaryFolder folder;
  const auto refusal = [&](const fs::path& source) {
    const Progress none = [&](int64_t, int64_t, const std::string& stage) { ADD_FAILURE() << stage; };
    try {
      export_gguf(source, folder / "x.gguf", {}, none);
    } catch (const Error& error) {
      EXPECT_TRUE(fs::is_empty(folder.path()));
      return std::string(error.what());
    }
    ADD_FAILURE() << source << " was not refused";
    return std::string();
  };
  EXPECT_NE(refusal(golden("gpt2-gelu-unscaled")).find("UNSUPPORTED"), std::string::npos);
  EXPECT_NE(refusal(golden("llama-sharded")).find("activation"), std::string::npos);
  EXPECT_NE(refusal(golden("llama-yarn-given")).find("yarn"), std::string::npos);
  EXPECT_NE(refusal(golden("none")).find("no model folder"), std::string::npos);
  const TemporaryFolder other;
  fs::copy(golden("llama"), other / "model");
  write_file(other / "model/tokenizer.json", R"({"model": {"type": "WordPiece", "vocab": {}}})");
  EXPECT_NE(refusal(other / "model").find("tokenizer.json"), std::string::npos);
  int calls = 0;
  const Progress cancel = [&](int64_t, int64_t, const std::string&) {
    if (++calls == 20) throw Error(Status::cancelled, "cancelled");
  };
  EXPECT_THROW(export_gguf(golden("llama"), folder / "x.gguf", {}, cancel), Error);
  EXPECT_TRUE(fs::is_empty(folder.path()));
  write_file(folder / "x.gguf", "mine");
  EXPECT_THROW(export_gguf(golden("llama"), folder / "x.gguf", {}, kQuiet), Error);
  EXPECT_EQ(read_file(folder / "x.gguf"), "mine");
  export_gguf(golden("llama"), folder / "x.gguf", {.overwrite = Overwrite::yes}, kQuiet);
  EXPECT_TRUE(is_gguf(folder / "x.gguf"));
}

/// Puts the tensor into the model, new or in the place of the one of that name.
void put_tensor(const fs::path& folder, const TensorInfo& tensor, std::span<const std::byte> bytes) {
  const fs::path path = folder / "model.safetensors", old = folder / "old.safetensors";
  fs::rename(path, old);
  const auto source = open_safetensors(old);
  std::vector<TensorInfo> tensors = source->tensors();
  std::erase_if(tensors, [&](const TensorInfo& other) { return other.name == tensor.name; });
  tensors.push_back(tensor);
  SafetensorsWriter writer(path, tensors, {});
  for (const TensorInfo& other : tensors) {
    if (other.name == tensor.name) continue;
    const Tensor data = source->read(other.name, Access::read);
    writer.write(other.name, {data.data, data.bytes});
  }
  writer.write(tensor.name, bytes);
  writer.finish();
  fs::remove(old);
}

/// A copy of the golden model in `folder` with a tensor of f32 values.
void copy_with(std::string_view model, const fs::path& folder, const std::string& name,
               const std::vector<int64_t>& shape, const std::vector<float>& values) {
  fs::remove_all(folder);
  fs::copy(golden(model), folder);
  put_tensor(folder, {.name = name, .dtype = DType::f32, .shape = shape}, std::as_bytes(std::span(values)));
}

TEST(GgufExport, BiasesWithoutAPlaceMustBeZero) {
  // Qwen2's output projection has none in llama.cpp
  const TemporaryFolder folder;
  const int64_t hidden = Loader(golden("qwen2")).spec().hidden;
  const auto run = [&](float value) {
    copy_with("qwen2", folder / "model", "model.layers.0.self_attn.o_proj.bias", {hidden},
              std::vector<float>(static_cast<size_t>(hidden), value));
    export_gguf(folder / "model", folder / "x.gguf", {.overwrite = Overwrite::yes}, kQuiet);
  };
  EXPECT_NO_THROW(run(0));
  EXPECT_THROW(run(1), Error);
}

/// One of the weights is too large for F16, in a model that is not quantized.
void copy_with_large_weight(const fs::path& folder, float largest) {
  const Spec spec = Loader(golden("llama")).spec();
  std::vector<float> values(static_cast<size_t>(spec.intermediate * spec.hidden), 0.5f);
  values.back() = largest;
  copy_with("llama", folder, "model.layers.0.mlp.up_proj.weight", {spec.intermediate, spec.hidden}, values);
}

std::string refused_at_once(const fs::path& source, const fs::path& target, GgufType type) {
  int64_t steps = 0;
  const Progress progress = [&](int64_t, int64_t, const std::string& stage) {
    steps += stage == "convert" ? 1 : 0;
  };
  try {
    export_gguf(source, target, {.type = type}, progress);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument) << error.what();
    EXPECT_EQ(steps, 0) << "written before";
    EXPECT_FALSE(fs::exists(target));
    return error.what();
  }
  return "taken";
}

TEST(GgufExport, WeightsBeyondTheTypeAreRefusedBeforeAnythingIsWritten) {
  const TemporaryFolder folder;
  copy_with_large_weight(folder / "model", -70000.0f);
  EXPECT_EQ(refused_at_once(folder / "model", folder / "x.gguf", GgufType::f16),
            "model.layers.0.mlp.up_proj: a weight of -70000 is beyond F16; BF16 holds it, which option "
            "'gguf_type' = auto takes where it must");
  EXPECT_NE(
      refused_at_once(folder / "model", folder / "x.gguf", GgufType::q4_1).find("-70000 is beyond Q4_1"),
      std::string::npos);
  EXPECT_EQ(refused_at_once(folder / "model", folder / "4.gguf", GgufType::q4_0), "taken");
  EXPECT_EQ(refused_at_once(folder / "model", folder / "8.gguf", GgufType::q8_0), "taken");
  copy_with_large_weight(folder / "model", 1e6f);
  EXPECT_NE(refused_at_once(folder / "model", folder / "x.gguf", GgufType::q4_0).find("1e+06 is beyond Q4_0"),
            std::string::npos);
  // codes times scales
  copy_with("gptq-b4-g16", folder / "model", "model.layers.0.mlp.up_proj.scales", {2, 64},
            std::vector<float>(128, 30'000.0f));
  EXPECT_NE(refused_at_once(folder / "model", folder / "x.gguf", GgufType::f16).find("up_proj: a weight of "),
            std::string::npos);
}

TEST(GgufExport, CodesTooLargeForF16BecomeBF16) {
  // zero points of 1: codes of up to 254 above them, which no block holds
  const TemporaryFolder folder;
  const fs::path model = folder / "model";
  const std::string module = "model.layers.0.mlp.up_proj";
  const auto type_with = [&](float scale) {
    fs::remove_all(model);
    fs::copy(golden("gptq-b8-perchannel"), model);
    const Tensor zeros =
        open_safetensors(model / "model.safetensors")->read(module + ".qzeros", Access::read);
    put_tensor(model, {.name = module + ".qzeros", .dtype = zeros.dtype, .shape = zeros.shape},
               std::vector<std::byte>(zeros.bytes));
    const std::vector<int64_t> shape{1, Loader(model).spec().intermediate};
    const std::vector<float> scales(static_cast<size_t>(shape[1]), scale);
    put_tensor(model, {.name = module + ".scales", .dtype = DType::f32, .shape = shape},
               std::as_bytes(std::span(scales)));
    export_gguf(model, folder / "x.gguf", {.overwrite = Overwrite::yes}, kQuiet);
    return GgufFile(folder / "x.gguf").header().find("blk.0.ffn_up.weight")->type;
  };
  EXPECT_EQ(type_with(1.0f), GgufType::f16);
  EXPECT_EQ(type_with(1000.0f), GgufType::bf16);
}

TEST(GgufExport, WeightsTooLargeForF16BecomeBF16) {
  const TemporaryFolder folder;
  const auto type_with = [&](float largest) {
    copy_with_large_weight(folder / "model", largest);
    export_gguf(folder / "model", folder / "x.gguf", {.overwrite = Overwrite::yes}, kQuiet);
    return GgufFile(folder / "x.gguf").header().find("blk.0.ffn_up.weight")->type;
  };
  EXPECT_EQ(type_with(65504.0f), GgufType::f16);
  EXPECT_EQ(type_with(-70000.0f), GgufType::bf16);
}

/// The tokenizer's settings alone, through a file.
GgufFile tokenizer_file(const fs::path& tokenizer, int64_t vocab, const fs::path& target) {
  Spec spec;
  spec.vocab = vocab;
  GgufSettings settings;
  add_gguf_tokenizer(settings, tokenizer, spec);
  StagedFile file(target, Overwrite::no);
  GgufWriter(file.writer(), settings, {});
  file.commit();
  return GgufFile(target);
}

/// llama.cpp's own files of the same vocabularies.
TEST(GgufTokenizer, AgreesWithPublishedFiles) {
  const TemporaryFolder folder;
  for (const auto& [ours, theirs, count] :
       {std::tuple("gpt2", "gpt-2", 50257), std::tuple("llama2", "llama-spm", 32000)}) {
    GPTQ_EXTRA_DATA(tokenizer, std::string("tokenizers/") + ours);
    GPTQ_EXTRA_DATA(published, std::string("gguf-vocab/ggml-vocab-") + theirs + ".gguf");
    const GgufFile made = tokenizer_file(tokenizer, count, folder / ours), known(published);
    EXPECT_EQ(*made.header().text("tokenizer.ggml.model"), *known.header().text("tokenizer.ggml.model"));
    EXPECT_EQ(*made.header().text("tokenizer.ggml.pre"), *known.header().text("tokenizer.ggml.pre"));
    const auto &tokens = *made.header().texts("tokenizer.ggml.tokens"),
               &wanted = *known.header().texts("tokenizer.ggml.tokens");
    ASSERT_EQ(tokens.size(), wanted.size());
    EXPECT_EQ(tokens, wanted);
    EXPECT_EQ(*made.header().integers("tokenizer.ggml.token_type"),
              *known.header().integers("tokenizer.ggml.token_type"));
    if (const auto* merges = known.header().texts("tokenizer.ggml.merges")) {
      EXPECT_EQ(*made.header().texts("tokenizer.ggml.merges"), *merges);
    }
    if (const auto* scores = known.header().numbers("tokenizer.ggml.scores")) {
      // what counts is their order among tokens that merging makes
      const auto& mine = *made.header().numbers("tokenizer.ggml.scores");
      std::vector<size_t> merged;
      for (size_t id = 0; id < mine.size(); ++id) {
        if (mine[id] > -1e5) merged.push_back(id);
      }
      EXPECT_GT(merged.size(), 29'000u);
      std::sort(merged.begin(), merged.end(), [&](size_t a, size_t b) { return mine[a] > mine[b]; });
      for (size_t i = 1; i < merged.size(); ++i)
        ASSERT_GE((*scores)[merged[i - 1]], (*scores)[merged[i]]) << i;
    }
  }
}

TEST(GgufTokenizer, NamesHowWordsAreCut) {
  const TemporaryFolder folder;
  const fs::path tokenizers = source_dir() / "tests/golden/tokenizers";
  for (const auto& [name, pre] :
       {std::pair("gpt2-style", "gpt-2"), std::pair("llama3-style", "llama-bpe"),
        std::pair("qwen2-style", "qwen2"), std::pair("llama2-style-json", "default"),
        std::pair("llama2-style-model", "default")}) {
    const GgufFile file = tokenizer_file(tokenizers / name, 5000, folder / name);
    EXPECT_EQ(*file.header().text("tokenizer.ggml.pre"), pre) << name;
    EXPECT_EQ(file.header().texts("tokenizer.ggml.tokens")->size(), 5000u) << name;
    EXPECT_EQ(file.header().integers("tokenizer.ggml.token_type")->back(), 5) << name;
  }
  // ByteLevel's own words may stand in a Split before it
  auto split = nlohmann::json::parse(read_file(tokenizers / "gpt2-style/tokenizer.json"));
  split["pre_tokenizer"] = nlohmann::json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
       "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"}},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})");
  fs::create_directory(folder / "split");
  write_file(folder / "split/tokenizer.json", split.dump());
  EXPECT_EQ(*tokenizer_file(folder / "split", 5000, folder / "s").header().text("tokenizer.ggml.pre"),
            "gpt-2");
  GPTQ_EXTRA_DATA(unigram, "tokenizers/unigram-metaspace");
  GPTQ_EXTRA_DATA(deepseek, "tokenizers/deepseek-style");
  for (const fs::path& unknown : {unigram, deepseek}) {
    try {
      tokenizer_file(unknown, 3000, folder / "no");
      ADD_FAILURE() << unknown;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::unsupported) << error.what();
    }
  }
}

}  // namespace
}  // namespace gptq::test
