// GGUF files as folders: what an export held comes back bit for bit, tokenizers agree with llama.cpp's own tests, and
// files that contradict themselves are refused.
#include "quant/gguf_import.h"

#include <cstring>

#include "base/error.h"
#include "base/folder.h"
#include "base/staged_file.h"
#include "format/gguf_writer.h"
#include "model/loader.h"
#include "quant/gguf_config.h"
#include "quant/gguf_export.h"
#include "quant/gguf_tokenizer.h"
#include "session/model.h"
#include "support/reference.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"

namespace gptq::test {
namespace {

const Progress kQuiet = [](int64_t, int64_t, const std::string&) {};
const ConvertOptions kDense{.dtype = DType::f32};

fs::path golden(std::string_view name) { return source_dir() / "tests/golden/models" / name; }

class GgufRoundTrip : public testing::TestWithParam<std::string> {};

TEST_P(GgufRoundTrip, GivesTheSameValues) {
  const auto source =
      GetParam().find('/') == std::string::npos ? std::optional(golden(GetParam())) : extra_data(GetParam());
  if (!source) GTEST_SKIP() << "needs " << GetParam() << " below $GPTQ_TEST_DATA";
  const TemporaryFolder folder;
  export_gguf(*source, folder / "x.gguf", {}, kQuiet);
  convert_model(folder / "x.gguf", folder / "back", kDense, kQuiet);
  convert_model(*source, folder / "plain", kDense, kQuiet);
  const Loader back(folder / "back"), plain(folder / "plain");
  size_t compared = 0;
  for (const TensorInfo& tensor : plain.checkpoint().tensors()) {
    if (plain.tied() && tensor.name == plain.head_name() + ".weight") continue;
    if (back.checkpoint().find(tensor.name) == nullptr)
      continue;  // buffers, and biases of zero without a place
    const Tensor a = plain.checkpoint().read(tensor.name, Access::read),
                 b = back.checkpoint().read(tensor.name, Access::read);
    ASSERT_EQ(a.shape, b.shape) << tensor.name;
    EXPECT_EQ(std::memcmp(a.data, b.data, a.bytes), 0) << tensor.name;
    ++compared;
  }
  EXPECT_EQ(compared, back.checkpoint().tensors().size());
  const Spec &one = back.spec(), &other = plain.spec();
  EXPECT_EQ(one.context, other.context);
  EXPECT_EQ(one.vocab, other.vocab);
  EXPECT_EQ(static_cast<float>(one.norm_eps), static_cast<float>(other.norm_eps));
  EXPECT_EQ(one.rope().kind, other.rope().kind);
  EXPECT_EQ(one.rope().factor, other.rope().factor);
  EXPECT_EQ(one.rope().original_context, other.rope().original_context);
  EXPECT_NEAR(one.rope().attention_factor, other.rope().attention_factor, 1e-6);
  EXPECT_EQ(back.tied(), plain.tied());
  if (other.at(0).window == 0) {  // llama.cpp knows no window of Mistral's
    fs::copy_file(*source / "expected.safetensors", folder / "back/expected.safetensors");
    expect_reference(folder / "back");
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, GgufRoundTrip,
                         testing::Values("llama", "llama-f16-old", "llama-llama3", "llama-linear",
                                         "llama-yarn", "gpt2", "mistral", "qwen2", "gptq-b8-perchannel",
                                         "gptq-b3-g32-v1-asym", "gptq/llama-b4-g32", "gptq/gpt2-b4-g32",
                                         "gptq/qwen2-b4-g32", "gptq/llama-b3-g32-v2-asym",
                                         "gptq/llama-b8-g32"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

std::vector<std::string> parts_of(const std::string& text, std::string_view separator) {
  std::vector<std::string> parts;
  size_t at = 0;
  for (size_t next; (next = text.find(separator, at)) != std::string::npos; at = next + separator.size())
    parts.push_back(text.substr(at, next - at));
  parts.push_back(text.substr(at));
  return parts;
}

TEST(GgufTokenizerImport, AgreesWithLlamaCppsOwnTests) {
  for (const char* name : {"gpt-2", "llama-spm", "phi-3", "deepseek-llm", "deepseek-coder", "falcon", "mpt",
                           "refact", "starcoder"}) {
    GPTQ_EXTRA_DATA(path, std::string("gguf-vocab/ggml-vocab-") + name + ".gguf");
    ModelOptions options;
    options.weights = LoadWeights::no;
    const auto model = Model::load(path, options, kQuiet);
    const auto& tokenizer = model->tokenizer();
    const auto texts = parts_of(read_file(path.string() + ".inp"), "\n__ggml_vocab_test__\n");
    const auto lines = parts_of(read_file(path.string() + ".out"), "\n");
    ASSERT_GE(lines.size(), texts.size());
    ASSERT_GT(texts.size(), 30u);
    for (size_t i = 0; i + 1 < texts.size(); ++i) {  // behind the last separator is nothing
      std::string found;
      for (int32_t id : tokenizer->encode(texts[i], AddSpecial::no, ParseSpecial::no))
        found += " " + std::to_string(id);
      EXPECT_EQ(found, lines[i]) << name << ": " << texts[i];
    }
  }
}

TEST(GgufTokenizerImport, OtherKindsAreRefusedByName) {
  GPTQ_EXTRA_DATA(path, "gguf-vocab/ggml-vocab-bert-bge.gguf");
  ModelOptions options;
  options.weights = LoadWeights::no;
  try {
    Model::load(path, options, kQuiet);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::unsupported);
    EXPECT_NE(std::string(error.what()).find("'bert'"), std::string::npos) << error.what();
  }
}

TEST(GgufTokenizerImport, ComesBackFromAnExport) {
  const std::string text = "Hello, wörld!  It's 12345 o'clock\n\n\t你好 🦙 <|eot_id|>";
  const TemporaryFolder folder;
  for (const char* name :
       {"gpt2-style", "llama3-style", "qwen2-style", "llama2-style-json", "llama2-style-model"}) {
    const fs::path source = source_dir() / "tests/golden/tokenizers" / name;
    const auto before = Tokenizer::load(source);
    const fs::path model = folder / name;
    fs::copy(golden("llama"), model);
    for (const auto& entry : fs::directory_iterator(source)) {
      if (entry.path().filename().string().starts_with("tokenizer"))
        fs::copy_file(entry.path(), model / entry.path().filename());
    }
    // a model with as many rows of embedding as there are tokens
    const auto tensors = open_checkpoint(golden("llama"))->tensors();
    std::vector<TensorInfo> wider = tensors;
    for (TensorInfo& tensor : wider) {
      if (tensor.name.find("embed") != std::string::npos || tensor.name.starts_with("lm_head"))
        tensor.shape[0] = before->vocab_size();
    }
    fs::remove(model / "model.safetensors");
    FolderWriter writer(open_folder(model), model, wider, kDefaultShardBytes);
    for (const TensorInfo& tensor : wider)
      writer.write(tensor.name, std::vector<std::byte>(tensor_bytes(tensor)));
    writer.finish();
    std::string config = read_file(golden("llama") / "config.json");
    const size_t at = config.find("\"vocab_size\"");
    config.replace(at, config.find_first_of(",\n}", at) - at,
                   "\"vocab_size\": " + std::to_string(before->vocab_size()));
    fs::remove(model / "config.json");
    write_file(model / "config.json", config);
    const fs::path gguf = folder / (std::string(name) + ".gguf"),
                   out = folder / (std::string(name) + "-back");
    export_gguf(model, gguf, {}, kQuiet);
    convert_model(gguf, out, kDense, kQuiet);
    const auto after = Tokenizer::load(out);
    for (AddSpecial add : {AddSpecial::no, AddSpecial::yes}) {
      EXPECT_EQ(after->encode(text, add, ParseSpecial::yes), before->encode(text, add, ParseSpecial::yes))
          << name;
    }
    EXPECT_TRUE(!before->bos_id() || after->bos_id() == before->bos_id()) << name;
    EXPECT_TRUE(!before->eos_id() || after->eos_id() == before->eos_id()) << name;
  }
}

/// A file of llama's settings and these tensors, all zero.
void write_gguf(const fs::path& path, std::string_view arch, const std::vector<GgufTensor>& tensors) {
  GgufSettings settings;
  settings.text("general.architecture", arch);
  for (const char* key : {"block_count", "attention.head_count"})
    settings.integer(std::string(arch) + "." + key, 1);
  for (const char* key : {"context_length", "embedding_length", "feed_forward_length"})
    settings.integer(std::string(arch) + "." + key, 32);
  StagedFile file(path, Overwrite::yes);
  GgufWriter writer(file.writer(), settings, tensors);
  file.commit();
}

TEST(GgufImportErrors, AreNamedAndLeaveNothing) {
  std::vector<GgufTensor> good;
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"})
    good.push_back(
        {.name = std::string("blk.0.") + name + ".weight", .type = GgufType::q4_0, .shape = {32, 32}});
  for (const char* name : {"blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"})
    good.push_back({.name = name, .shape = {32}});
  good.push_back({.name = "token_embd.weight", .shape = {5, 32}});
  const TemporaryFolder folder, empty;
  const auto refusal = [&](std::string_view arch, const std::vector<GgufTensor>& tensors,
                           const ConvertOptions& options) {
    write_gguf(folder / "x.gguf", arch, tensors);
    try {
      convert_model(folder / "x.gguf", empty / "out", options, kQuiet);
    } catch (const Error& error) {
      EXPECT_TRUE(fs::is_empty(empty.path()));
      return std::string(error.what());
    }
    fs::remove_all(empty / "out");
    return std::string();
  };
  EXPECT_EQ(refusal("llama", good, kDense), "");
  EXPECT_NE(refusal("falcon", good, kDense).find("'falcon'"), std::string::npos);
  for (size_t i = 0; i < good.size(); ++i) {
    std::vector<GgufTensor> bad = good;
    bad.erase(bad.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_NE(refusal("llama", bad, kDense).find(good[i].name), std::string::npos) << good[i].name;
    bad = good;
    bad[i].shape.back() = 64;
    EXPECT_NE(refusal("llama", bad, kDense), "") << good[i].name;
  }
  std::vector<GgufTensor> more = good;
  more.push_back({.name = "blk.0.ffn_gate_exps.weight", .shape = {32}});
  EXPECT_NE(refusal("llama", more, kDense).find("ffn_gate_exps"), std::string::npos);
  EXPECT_NE(refusal("llama", good, {.format = QuantFormat::gptq}).find("'dense'"), std::string::npos);
  EXPECT_NE(refusal("llama", good, {.container = Container::gguf}).find("is a GGUF file"), std::string::npos);
  ConvertOptions replace = kDense;
  replace.overwrite = Overwrite::yes;
  EXPECT_THROW(convert_model(folder / "x.gguf", folder.path(), replace, kQuiet), Error);  // holds the file
}

}  // namespace
}  // namespace gptq::test
