// From a model to logits over all widths, groups and sizes: what the library computes from the folder that it wrote is
// what its dense twin gives, by an independent reading of the packed tensors.
#include <cmath>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/error.h"
#include "base/random.h"
#include "format/checkpoint.h"
#include "quant/dequantized.h"
#include "quant/job.h"
#include "session/model.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

using nlohmann::json;

const Progress kQuiet = [](int64_t, int64_t, const std::string&) {};

std::vector<int32_t> tokens(int64_t count, int64_t vocab, int64_t seed = 1) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<int32_t>((i * i * 7 + i * 5 + seed * 11) % vocab));
  return ids;
}

json quantize(const fs::path& source, const fs::path& target, const QuantOptions& options) {
  Job job(source, target, {.backend = {.threads = 1}}, options, kQuiet);
  const Loader loader(source);
  for (int64_t i = 0; i < 8; ++i) job.add_tokens(tokens(32, loader.spec().vocab, i));
  while (job.step() == JobStep::more) continue;
  return json::parse(job.report());
}

void expect_logits_of_twin(const fs::path& out, const fs::path& scratch, Stored stored = Stored::out_in) {
  write_dequantized(out, scratch, stored);
  const auto model = load_model(out, 1), twin = load_model(scratch, 1);
  const auto ids = tokens(40, model->spec().vocab, 99);
  EXPECT_LT(relative_difference(causal_logits(model, ids, 40), causal_logits(twin, ids, 40)), 2e-5);
}

/// A random Llama whose sizes divide nothing: hidden 36, 18 rows of keys, intermediate 50.
fs::path write_odd_model(const fs::path& folder) {
  fs::create_directory(folder);
  constexpr int64_t kHidden = 36, kHead = 18, kWide = 50, kVocab = 70;
  std::vector<TensorInfo> infos;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    uint64_t bytes = sizeof(float);
    for (int64_t d : shape) bytes *= static_cast<uint64_t>(d);
    infos.push_back(
        {.name = name + ".weight", .dtype = DType::f32, .shape = std::move(shape), .bytes = bytes});
  };
  add("model.embed_tokens", {kVocab, kHidden});
  add("lm_head", {kVocab, kHidden});
  add("model.norm", {kHidden});
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    const std::string base = layer;
    add(base + "input_layernorm", {kHidden});
    add(base + "post_attention_layernorm", {kHidden});
    add(base + "self_attn.q_proj", {2 * kHead, kHidden});
    add(base + "self_attn.k_proj", {kHead, kHidden});
    add(base + "self_attn.v_proj", {kHead, kHidden});
    add(base + "self_attn.o_proj", {kHidden, 2 * kHead});
    add(base + "mlp.gate_proj", {kWide, kHidden});
    add(base + "mlp.up_proj", {kWide, kHidden});
    add(base + "mlp.down_proj", {kHidden, kWide});
  }
  Random random(5);
  SafetensorsWriter writer(folder / "model.safetensors", infos, {});
  for (const TensorInfo& info : infos) {
    std::vector<float> values(info.bytes / sizeof(float));
    for (float& v : values) {
      v = 0.4f * (static_cast<float>(random.below(2001)) / 1000 - 1);
      if (info.shape.size() == 1) v += 1;
    }
    writer.write(info.name, std::as_bytes(std::span(values)));
  }
  writer.finish();
  write_file(folder / "config.json",
             R"({"model_type":"llama","hidden_size":36,"intermediate_size":50,"num_hidden_layers":2,)"
             R"("num_attention_heads":2,"num_key_value_heads":1,"head_dim":18,"vocab_size":70,)"
             R"("max_position_embeddings":64,"rms_norm_eps":1e-5,"tie_word_embeddings":false})");
  return folder;
}

using Case = std::tuple<int, int64_t, Symmetric>;
class Widths : public testing::TestWithParam<Case> {
 protected:
  static QuantOptions options() {
    QuantOptions options;
    options.solver.bits = std::get<0>(GetParam());
    options.solver.group_size = std::get<1>(GetParam());
    options.solver.symmetric = std::get<2>(GetParam());
    return options;
  }
};

TEST_P(Widths, LogitsAreThoseOfTheTwin) {
  const fs::path golden = source_dir() / "tests/golden/models";
  for (Order order : {Order::none, Order::act, Order::gar}) {
    const TemporaryFolder folder;
    QuantOptions with = options();
    with.solver.order = order;
    if (order == Order::act) with.solver.static_groups = StaticGroups::yes;
    if (order == Order::none) with.format = QuantFormat::gptq;
    quantize(golden / "llama", folder / "out", with);
    expect_logits_of_twin(folder / "out", folder / "twin");
  }
}

TEST_P(Widths, SizesThatDivideNothing) {
  const TemporaryFolder folder;
  const fs::path source = write_odd_model(folder / "in");
  QuantOptions with = options();
  with.lm_head = QuantizeHead::yes;
  with.overrides = parse_module_overrides(R"({"lm_head":{}})", "dynamic", {}, OverrideUse::quantize);
  const int64_t bits = with.solver.bits, group = with.solver.group_size;
  for (Order order : {Order::act, Order::gar}) {
    with.solver.order = order;
    with.overwrite = Overwrite::yes;
    quantize(source, folder / "out", with);
    const auto out = open_checkpoint(folder / "out");
    for (const auto& [module, in, n] : {std::tuple{"model.layers.1.mlp.down_proj", 50, 36},
                                        {"model.layers.1.self_attn.k_proj", 36, 18},
                                        {"lm_head", 36, 70}}) {
      const std::string name = module;
      const int64_t groups = group == -1 ? 1 : (in + group - 1) / group;
      EXPECT_EQ(out->find(name + ".qweight")->shape, (std::vector<int64_t>{(in * bits + 31) / 32, n}));
      EXPECT_EQ(out->find(name + ".qzeros")->shape, (std::vector<int64_t>{groups, (n * bits + 31) / 32}));
      EXPECT_EQ(out->find(name + ".scales")->shape, (std::vector<int64_t>{groups, n}));
      EXPECT_EQ(out->find(name + ".g_idx")->shape, (std::vector<int64_t>{in}));
    }
    expect_logits_of_twin(folder / "out", folder / ("twin" + std::to_string(static_cast<int>(order))));
  }
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  const auto& [bits, group, symmetric] = info.param;
  return "bits" + std::to_string(bits) + "_group" + (group < 0 ? "_all" : std::to_string(group)) +
         (symmetric == Symmetric::yes ? "_sym" : "_asym");
}

INSTANTIATE_TEST_SUITE_P(All, Widths,
                         testing::Combine(testing::Values(2, 3, 4, 8),
                                          testing::Values(16, 32, 64, 128, 256, -1),
                                          testing::Values(Symmetric::yes, Symmetric::no)),
                         name_of);

TEST(WidthsOfTheSample, GroupsBelowTheSizes) {
  for (const auto& [bits, group] : {std::pair{2, 64}, {3, 128}, {4, 256}, {8, 64}}) {
    const TemporaryFolder folder;
    QuantOptions options;
    options.solver.bits = bits;
    options.solver.group_size = group;
    options.solver.symmetric = bits == 2 ? Symmetric::no : Symmetric::yes;
    quantize(source_dir() / "samples/model", folder / "out", options);
    expect_logits_of_twin(folder / "out", folder / "twin");
  }
}

TEST(WidthsOfGpt2, FusedModulesAreThoseOfTheTwin) {
  for (int bits : {2, 3, 4, 8}) {
    const TemporaryFolder folder;
    QuantOptions options;
    options.solver.bits = bits;
    options.solver.group_size = 16;
    quantize(source_dir() / "tests/golden/models/gpt2", folder / "out", options);
    expect_logits_of_twin(folder / "out", folder / "twin", Stored::in_out);
  }
}

/// The head's weight against its dequantized self: mean squared difference over mean square.
double head_error(const fs::path& source, const fs::path& quantized) {
  const auto dense = to_float(open_checkpoint(source)->read("lm_head.weight", Access::read));
  const auto rounded = dequantize_module(quantized, "lm_head");
  double error = 0, energy = 0;
  for (size_t i = 0; i < dense.size(); ++i) {
    error += std::pow(double{dense[i]} - rounded[i], 2);
    energy += std::pow(double{dense[i]}, 2);
  }
  return error / energy;
}

TEST(LmHead, IsQuantizedFromTheFinalHiddenStates) {
  const TemporaryFolder folder;
  const fs::path source = source_dir() / "tests/golden/models/llama";
  QuantOptions options;
  options.lm_head = QuantizeHead::yes;
  const json report = quantize(source, folder / "out", options);
  const json& head = report["modules"].back();
  EXPECT_EQ(head["name"], "lm_head");
  EXPECT_EQ(head["bits"], 8);
  EXPECT_EQ(head["group_size"], 32);
  EXPECT_EQ(head["method"], "gptq");
  EXPECT_GT(head["loss"], 0);
  const json config = json::parse(read_file(folder / "out/quantize_config.json"));
  EXPECT_EQ(config["lm_head"], true);
  EXPECT_EQ(config["bits"], 4);
  EXPECT_EQ(config["dynamic"]["lm_head"]["bits"], 8);
  const auto out = open_checkpoint(folder / "out");
  EXPECT_EQ(out->find("lm_head.weight"), nullptr);
  EXPECT_EQ(out->find("lm_head.qweight")->shape, (std::vector<int64_t>{32 / 4, 64}));
  EXPECT_LT(head_error(source, folder / "out"), 1e-4);
  expect_logits_of_twin(folder / "out", folder / "twin");

  // the same with settings that reach it
  options.overrides =
      parse_module_overrides(R"({"lm_":{"bits":2,"group_size":16}})", "dynamic", {}, OverrideUse::quantize);
  quantize(source, folder / "two", options);
  EXPECT_EQ(json::parse(read_file(folder / "two/quantize_config.json"))["dynamic"].size(), 1u);
  EXPECT_EQ(open_checkpoint(folder / "two")->find("lm_head.qweight")->shape[0], 32 / 16);
  EXPECT_GT(head_error(source, folder / "two"), 1e-2);
  expect_logits_of_twin(folder / "two", folder / "twin of two");
}

TEST(LmHead, OnlyWhenAsked) {
  const TemporaryFolder folder;
  QuantOptions options;
  options.overrides = parse_module_overrides(R"({".*":{"bits":8}})", "dynamic", {}, OverrideUse::quantize);
  quantize(source_dir() / "tests/golden/models/llama", folder / "out", options);
  EXPECT_NE(open_checkpoint(folder / "out")->find("lm_head.weight"), nullptr);
}

TEST(LmHead, ErrorMinimizesTheOutputAndNotTheWeights) {
  // fewer bits, so that error feedback shows: its output error is below that of rounding
  const TemporaryFolder folder;
  const fs::path source = source_dir() / "tests/golden/models/llama";
  QuantOptions options;
  options.lm_head = QuantizeHead::yes;
  options.overrides = parse_module_overrides(R"({"-:model":{},"lm_head":{"bits":3,"group_size":-1}})",
                                             "dynamic", {}, OverrideUse::quantize);
  quantize(source, folder / "out", options);
  write_dequantized(folder / "out", folder / "twin");
  const auto dense = load_model(source, 1), twin = load_model(folder / "twin", 1);
  const auto error_on = [&](const std::shared_ptr<const Model>& model) {
    double error = 0;
    for (int64_t i = 0; i < 8; ++i) {  // the calibration itself
      const auto ids = tokens(32, 64, i);
      const auto a = causal_logits(dense, ids, 32), b = causal_logits(model, ids, 32);
      for (size_t j = 0; j < a.size(); ++j) error += std::pow(double{a[j]} - b[j], 2);
    }
    return error / (8 * 32);
  };
  // round to nearest in the same grid per row
  const auto checkpoint = open_checkpoint(folder / "out");
  const auto scales = to_float(checkpoint->read("lm_head.scales", Access::read));
  auto weight = to_float(open_checkpoint(source)->read("lm_head.weight", Access::read));
  for (size_t n = 0; n < 64; ++n) {
    for (size_t k = 0; k < 32; ++k) {
      float& w = weight[n * 32 + k];
      w = scales[n] * static_cast<float>(std::clamp(std::nearbyint(double{w} / scales[n]), -4.0, 3.0));
    }
  }
  const double quantized = error_on(twin);
  fs::create_directory(folder / "rounded");
  fs::copy_file(source / "config.json", folder / "rounded/config.json");
  const auto original = open_checkpoint(source);
  std::vector<TensorInfo> infos = original->tensors();
  for (TensorInfo& info : infos) {
    if (info.name == "lm_head.weight") info.dtype = DType::f32, info.bytes = weight.size() * sizeof(float);
  }
  {
    SafetensorsWriter writer(folder / "rounded/model.safetensors", infos, {});
    for (const TensorInfo& info : original->tensors()) {
      const Tensor data = original->read(info.name, Access::read);
      if (info.name == "lm_head.weight") {
        writer.write(info.name, std::as_bytes(std::span(weight)));
      } else {
        writer.write(info.name, {data.data, data.bytes});
      }
    }
    writer.finish();
  }
  EXPECT_LT(quantized, 0.8 * error_on(load_model(folder / "rounded", 1)));
}

TEST(LmHead, TiedOrSkippedIsRefused) {
  const TemporaryFolder folder;
  QuantOptions options;
  options.lm_head = QuantizeHead::yes;
  const auto refusal = [&](const fs::path& source) {
    try {
      const Job job(source, folder / "out", {}, options, kQuiet);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::invalid_argument);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refusal(source_dir() / "samples/model").find("tie_word_embeddings"), std::string::npos);
  options.overrides = parse_module_overrides(R"({"-:lm_head":{}})", "dynamic", {}, OverrideUse::quantize);
  EXPECT_NE(refusal(source_dir() / "tests/golden/models/llama").find("'-:lm_head'"), std::string::npos);
}

}  // namespace
}  // namespace gptq::test
