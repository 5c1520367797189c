// Experts that calibration hardly reaches, and jobs on models that have experts.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/checkpoint.h"
#include "model/loader.h"
#include "quant/dequantized.h"
#include "quant/job.h"
#include "quant/solver_support.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

using nlohmann::json;

const Progress kQuiet = [](int64_t, int64_t, const std::string&) {};
constexpr int32_t kRare = 7, kTokens = 48;

using Values = std::vector<float>;

/// The folder again, with what `change` makes of its tensors.
void write_changed(const fs::path& source, const fs::path& target,
                   const std::function<void(const std::string& name, Values& values)>& change) {
  fs::create_directory(target);
  fs::copy_file(source / "config.json", target / "config.json");
  const auto checkpoint = open_checkpoint(source);
  std::vector<TensorInfo> infos;
  std::map<std::string, Values> tensors;
  for (const TensorInfo& tensor : checkpoint->tensors()) {
    Values& values = tensors[tensor.name] = to_float(checkpoint->read(tensor.name, Access::read));
    change(tensor.name, values);
    infos.push_back({.name = tensor.name,
                     .dtype = DType::f32,
                     .shape = tensor.shape,
                     .bytes = values.size() * sizeof(float)});
  }
  SafetensorsWriter writer(target / "model.safetensors", infos, {});
  for (const auto& [name, values] : tensors) writer.write(name, std::as_bytes(std::span(values)));
  writer.finish();
}

/// Of four experts, each token goes to two: all to 0 and 1, but for kRare, which goes to 2 and 0 or 1. None goes to 3.
void write_lopsided(const fs::path& source, const fs::path& target) {
  const auto hidden = static_cast<size_t>(load_spec(source).hidden);
  write_changed(source, target, [&](const std::string& name, Values& values) {
    if (name == "model.embed_tokens.weight") {
      std::fill_n(values.begin() + kRare * static_cast<ptrdiff_t>(hidden), hidden, 0.0f);
      values[kRare * hidden] = 1000.0f;  // the norm makes sqrt(hidden) of it
    }
    if (name.ends_with("layernorm.weight")) std::fill(values.begin(), values.end(), 1.0f);
    if (name.ends_with("mlp.router.bias")) values = {100.0f, 90.0f, -5000.0f, -1e6f};
    if (name.ends_with("mlp.router.weight")) {
      std::fill(values.begin(), values.end(), 0.0f);
      values[2 * hidden] = 1000.0f;
    }
  });
}

struct Quantized {
  json report;
  std::string weights;
};

QuantOptions options_of(Target target) {
  QuantOptions options;
  options.calibration_samples = 12;
  options.solver.group_size = 32;
  options.solver.target = target;
  return options;
}

void add_calibration(Job& job, int32_t rare) {
  for (int32_t s = 0; s < 12; ++s) {
    std::vector<int32_t> ids(kTokens);
    for (int32_t i = 0; i < kTokens; ++i) {
      ids[static_cast<size_t>(i)] = (i * 37 + s * 101 + 11) % 300;
      if (ids[static_cast<size_t>(i)] == kRare) ids[static_cast<size_t>(i)] = kRare + 1;
    }
    if (s < rare) ids[20] = kRare;
    job.add_tokens(ids);
  }
}

Quantized quantize(const fs::path& source, const fs::path& target, int32_t rare, Target how) {
  ModelOptions model;
  model.backend.threads = 2;
  Job job(source, target, model, options_of(how), kQuiet);
  add_calibration(job, rare);
  while (job.step() == JobStep::more) continue;
  return {json::parse(job.report()), read_file(target / "model.safetensors")};
}

json module_of(const json& report, const std::string& name) {
  for (const json& module : report.at("modules")) {
    if (module.at("name") == name) return module;
  }
  return {};
}

double distance(const Values& a, const Values& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double{a[i]} - double{b[i]}, 2);
    size += std::pow(double{b[i]}, 2);
  }
  return std::sqrt(difference / size);
}

TEST(Experts, ThoseWithFewTokensOrNoneAreRoundedAndTheReportSaysSo) {
  GPTQ_EXTRA_DATA(fixture, "families/gpt_oss");
  const TemporaryFolder folder;
  const fs::path source = folder / "model";
  write_lopsided(fixture, source);
  const Loader original(source);
  for (Target how : {Target::sequential, Target::exact}) {
    for (int32_t rare : {2, 3}) {  // 0.5 % of 576 tokens are 3
      const fs::path target =
          folder / ("out-" + std::to_string(rare) + std::to_string(static_cast<int>(how)));
      const Quantized run = quantize(source, target, rare, how);
      for (int64_t layer = 0; layer < original.spec().layers; ++layer) {
        for (const StoredLinear& linear : original.modules(layer)) {
          if (linear.stays()) continue;
          SCOPED_TRACE(linear.path);
          const json module = module_of(run.report, linear.path);
          ASSERT_TRUE(module.is_object());
          std::string note;
          if (linear.module->of_experts() && linear.expert == 3)
            note = "rounded to nearest: no token came by";
          if (linear.module->of_experts() && linear.expert == 2 && rare == 2)
            note = "rounded to nearest: 2 tokens came by, wanted at least 3";
          EXPECT_EQ(module.at("method"), note.empty() ? "gptq" : "rounded");
          EXPECT_EQ(module.value("note", ""), note);
          const Values whole = to_float(original.dense_rows(linear, 0, linear.out_features));
          EXPECT_LT(distance(dequantize_module(target, linear.path), whole), note.empty() ? 0.6 : 0.15);
        }
      }
      EXPECT_NO_THROW(load_model(target));
    }
  }
}

/// Files that hold all experts in one tensor have them apart once they are quantized.
TEST(Experts, AQuantizedOneThatIsMissingIsNamed) {
  const TemporaryFolder folder;
  QuantOptions options = options_of(Target::exact);
  options.solver.bits = 8;
  options.solver.group_size = -1;
  Job job(source_dir() / "tests/golden/models/granitemoe", folder / "out", {}, options, kQuiet);
  for (int32_t s = 0; s < 12; ++s) job.add_tokens(std::vector<int32_t>{s, 1, 2, 3, 2 * s, 5, 3 * s, 7});
  while (job.step() == JobStep::more) continue;
  EXPECT_NO_THROW(Loader(folder / "out"));
  std::string file = read_file(folder / "out/model.safetensors");
  const std::string there = "layers.1.block_sparse_moe.output_linear.3.linear.qweight";
  const size_t at = file.find(there);
  ASSERT_NE(at, std::string::npos);
  file[at + there.find(".3.") + 1] = '9';
  write_file(folder / "out/model.safetensors", file);
  try {
    const Loader loader(folder / "out");
    FAIL() << "loads";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::mismatch);
    EXPECT_NE(std::string(error.what()).find("layers.1.block_sparse_moe.output_linear"), std::string::npos)
        << error.what();
  }
}

TEST(Experts, TooFewTokensAreNoHessian) {
  const CpuBench bench;
  const auto hessian = bench.hessian(correlated_inputs(3, 32, 5), 32);
  const Values weights = normal(16 * 32, 6);
  const SolverOptions options{.group_size = 16};
  const SolveResult few =
      Solver(*bench.stream, *hessian, nullptr, options, 4).quantize(weights.data(), 16, "few");
  EXPECT_EQ(few.method, SolveResult::Method::rounded);
  EXPECT_EQ(few.note, "rounded to nearest: 3 tokens came by, wanted at least 4");
  EXPECT_LT(distance(dequantized(few.q), weights), 0.15);
  const SolveResult enough =
      Solver(*bench.stream, *hessian, nullptr, options, 3).quantize(weights.data(), 16, "enough");
  EXPECT_EQ(enough.method, SolveResult::Method::gptq);
}

/// Work that another run has done is taken up, to the same bytes.
TEST(Experts, AJobGoesOnToTheSameBytes) {
  for (const char* name : {"families/qwen2_moe", "families/gpt_oss", "families/granitemoe"}) {
    GPTQ_EXTRA_DATA(source, name);
    const TemporaryFolder folder;
    const Quantized whole = quantize(source, folder / "whole", 0, Target::exact);
    const auto start = [&] {
      ModelOptions model;
      model.backend.threads = 2;
      auto job = std::make_unique<Job>(source, folder / "parts", model, options_of(Target::exact), kQuiet);
      add_calibration(*job, 0);
      return job;
    };
    auto first = start();
    first->step();  // calibration
    first->step();  // layer 1
    first->cancel();
    EXPECT_THROW(first->step(), Error);
    first.reset();
    auto second = start();
    EXPECT_EQ(second->progress().layers_kept, 1);
    while (second->step() == JobStep::more) continue;
    EXPECT_EQ(read_file(folder / "parts" / "model.safetensors"), whole.weights) << name;
  }
}

/// What an override skips stays as it is, under a name of its own where its tensor is taken apart.
TEST(Experts, SomeOfThemMayStay) {
  for (const char* name : {"families/gpt_oss", "families/llama4_text", "families/dbrx"}) {
    GPTQ_EXTRA_DATA(source, name);
    const TemporaryFolder folder;
    QuantOptions options = options_of(Target::sequential);
    options.overrides = parse_module_overrides(R"json({"-:.*experts(\\..*)?\\.1(\\.|$)": {}})json", "dynamic",
                                               {}, OverrideUse::quantize);
    ModelOptions model;
    model.backend.threads = 2;
    Job job(source, folder / "out", model, options, kQuiet);
    add_calibration(job, 0);
    while (job.step() == JobStep::more) continue;
    const Loader before(source), loader(folder / "out");
    int left = 0;
    for (int64_t i = 0; i < loader.spec().layers; ++i) {
      for (size_t m = 0; m < loader.modules(i).size(); ++m) {
        const StoredLinear& linear = loader.modules(i)[m];
        const bool stays = linear.stays() || (linear.module->of_experts() && linear.expert == 1);
        EXPECT_NE(linear.quantized, stays) << linear.path;
        if (linear.stays() || linear.quantized) continue;
        ++left;
        EXPECT_EQ(to_float(loader.dense_rows(linear, 0, linear.out_features)),
                  to_float(before.dense_rows(before.modules(i)[m], 0, linear.out_features)));
        const auto bias = loader.bias(linear, Access::read),
                   old = before.bias(before.modules(i)[m], Access::read);
        ASSERT_EQ(bias.has_value(), old.has_value());
        if (bias) {
          EXPECT_EQ(to_float(*bias), to_float(*old));
        }
      }
    }
    EXPECT_GT(left, 1) << name;
    EXPECT_NO_THROW(load_model(folder / "out"));
  }
}

}  // namespace
}  // namespace gptq::test
