// Settings of single modules: what each is solved with, and what the folder then holds and says.
#include "quant/module_plan.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "quant/job.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

using nlohmann::ordered_json;

const Progress kQuiet = [](int64_t, int64_t, const std::string&) {};

fs::path sample_folder() { return source_dir() / "samples/model"; }

ModuleOverrides overrides(std::string_view object) {
  return parse_module_overrides(object, "dynamic", {}, OverrideUse::quantize);
}

QuantOptions small_options(std::string_view dynamic = "{}") {
  QuantOptions options;
  options.calibration_samples = 4;
  options.calibration_length = 64;
  options.solver.group_size = 64;
  options.overrides = overrides(dynamic);
  return options;
}

SolverOptions changed_by(const SolverOptions& base, std::string_view settings) {
  return changed(base, overrides("{\"x\":" + std::string(settings) + "}")[0]);
}

TEST(ModulePlan, SettingsReplaceThoseOfTheJob) {
  const SolverOptions base{.bits = 4, .group_size = 128, .damp_percent = 0.05};
  EXPECT_EQ(changed_by(base, "{}"), base);
  SolverOptions wanted = base;
  wanted.bits = 8;
  EXPECT_EQ(changed_by(base, R"({"bits":8})"), wanted);
  wanted.group_size = -1;
  wanted.symmetric = Symmetric::no;
  wanted.static_groups = StaticGroups::yes;
  wanted.damp_percent = 0.2;
  EXPECT_EQ(changed_by(base, R"({"bits":8,"group_size":-1,"sym":false,"static_groups":true,)"
                             R"("damp_percent":0.2,"mse":0})"),
            wanted);
}

TEST(ModulePlan, OrdersExcludeEachOther) {
  const auto order = [](Order base, std::string_view settings) {
    return changed_by({.order = base}, settings).order;
  };
  EXPECT_EQ(order(Order::gar, R"({"desc_act":true})"), Order::act);
  EXPECT_EQ(order(Order::gar, R"({"desc_act":false})"), Order::gar);
  EXPECT_EQ(order(Order::gar, R"({"act_group_aware":false})"), Order::none);
  EXPECT_EQ(order(Order::act, R"({"desc_act":false})"), Order::none);
  EXPECT_EQ(order(Order::act, R"({"act_group_aware":false})"), Order::act);
  EXPECT_EQ(order(Order::act, R"({"desc_act":false,"act_group_aware":true})"), Order::gar);
  EXPECT_EQ(order(Order::none, R"({"act_group_aware":true})"), Order::gar);
}

TEST(ModulePlan, SkipsAndWarns) {
  const Loader source(sample_folder());
  QuantOptions options =
      small_options(R"({"-:.*layers\\.0\\.":{},".*k_prj":{"bits":8},".*\\.[qk]_proj":{"bits":3}})");
  const ModulePlan plan(source, options);
  EXPECT_EQ(plan.find("model.layers.0.self_attn.q_proj"), nullptr);
  EXPECT_EQ(plan.find("model.layers.1.self_attn.q_proj")->bits, 3);
  EXPECT_EQ(plan.find("model.layers.1.self_attn.v_proj")->bits, 4);
  EXPECT_EQ(plan.find("model.embed_tokens"), nullptr);
  EXPECT_EQ(plan.warnings(), std::vector<std::string>{"dynamic: '.*k_prj' matches no module"});
  for (const char* refused : {R"({"-:.*":{}})", R"({"a(":{}})"}) {
    QuantOptions bad = small_options(refused);
    EXPECT_THROW(ModulePlan(source, bad), Error) << refused;
  }
}

/// Products may be rounded where most weights get few bits, whatever the others get.
TEST(ModulePlan, CalibratesAsMostWeightsAllow) {
  const Loader source(sample_folder());
  const auto compute = [&](int bits, const std::string& dynamic, Compute wanted = Compute::fast) {
    QuantOptions options = small_options(dynamic);
    options.solver.bits = bits;
    return ModulePlan(source, options).compute_for(wanted);
  };
  for (int bits : {2, 3, 4}) EXPECT_EQ(compute(bits, "{}"), Compute::coarse_calibration) << bits;
  EXPECT_EQ(compute(8, "{}"), Compute::calibration);
  EXPECT_EQ(compute(4, "{}", Compute::exact), Compute::exact);
  EXPECT_EQ(compute(8, R"({".*layers\\.0\\..*k_proj":{"bits":4}})"), Compute::calibration);
  EXPECT_EQ(compute(8, R"({".*layers\\.[0-9]*[02468]\\..*k_proj":{"bits":4}})"), Compute::calibration);
  EXPECT_EQ(compute(4, R"({".*layers\\.0\\..*k_proj":{"bits":8}})"), Compute::coarse_calibration);
}

TEST(ModulePlan, AsymmetricModulesOfV1KeepZeroPointsAtOneAndAbove) {
  const Loader source(sample_folder());
  QuantOptions options = small_options(R"({".*q_proj":{"sym":false}})");
  EXPECT_EQ(ModulePlan(source, options).find("model.layers.1.self_attn.q_proj")->least_zero, 0);
  EXPECT_EQ(output_format(options), QuantFormat::gptq_v2);
  options.format = QuantFormat::gptq;
  EXPECT_EQ(ModulePlan(source, options).find("model.layers.1.self_attn.q_proj")->least_zero, 1);
  EXPECT_EQ(ModulePlan(source, options).find("model.layers.1.self_attn.k_proj")->least_zero, 0);
}

ordered_json quantize(const fs::path& target, const QuantOptions& options) {
  Job job(sample_folder(), target, {.backend = {.threads = 2}}, options, kQuiet);
  job.add_text(read_file(source_dir() / "samples/stories.txt"));
  while (job.step() == JobStep::more) continue;
  return ordered_json::parse(job.report());
}

std::string bytes(const Checkpoint& checkpoint, const std::string& tensor) {
  const Tensor data = checkpoint.read(tensor, Access::read);
  return {reinterpret_cast<const char*>(data.data), data.bytes};
}

TEST(ModulePlan, OverridesOfAllEqualOptionsOfTheJob) {
  const TemporaryFolder folder;
  QuantOptions plain = small_options();
  plain.solver = {.bits = 3,
                  .group_size = 32,
                  .symmetric = Symmetric::no,
                  .order = Order::act,
                  .static_groups = StaticGroups::yes,
                  .damp_percent = 0.1};
  quantize(folder / "plain", plain);
  quantize(folder / "dynamic", small_options(R"({".*":{"bits":3,"group_size":32,"sym":false,"desc_act":true,)"
                                             R"("static_groups":true,"damp_percent":0.1}})"));
  EXPECT_EQ(read_file(folder / "plain/model.safetensors"), read_file(folder / "dynamic/model.safetensors"));
}

TEST(ModulePlan, AFolderOfManyKinds) {
  const TemporaryFolder folder;
  const std::string dynamic =
      R"({"+:.*down_proj":{"bits":8,"group_size":32},".*\\.k_proj":{"bits":3,"sym":false},)"
      R"("-:.*layers\\.1\\.":{},"-:.*\\.o_proj":{},".*nowhere":{"bits":2}})";
  for (TrueSequential sequential : {TrueSequential::yes, TrueSequential::no}) {
    QuantOptions options = small_options(dynamic);
    options.true_sequential = sequential;
    options.overwrite = Overwrite::yes;
    const auto report = quantize(folder / "out", options);
    EXPECT_EQ(report["modules"].size(), 3u * 6);
    EXPECT_EQ(report["options"]["dynamic"], ordered_json::parse(dynamic));
    ASSERT_EQ(report["warnings"].size(), 1u);
    EXPECT_EQ(report["warnings"][0], "dynamic: '.*nowhere' matches no module");

    const auto quantization = ordered_json::parse(read_file(folder / "out/quantize_config.json"));
    EXPECT_EQ(quantization["dynamic"].dump(), dynamic);
    EXPECT_EQ(quantization["format"], "gptq_v2");
    EXPECT_EQ(ordered_json::parse(read_file(folder / "out/config.json"))["quantization_config"],
              quantization);

    const auto out = open_checkpoint(folder / "out"), source = open_checkpoint(sample_folder());
    for (const char* dense : {"model.layers.1.mlp.up_proj.weight", "model.layers.2.self_attn.o_proj.weight"})
      EXPECT_EQ(bytes(*out, dense), bytes(*source, dense));
    EXPECT_EQ(out->find("model.layers.0.mlp.down_proj.qweight")->shape, (std::vector<int64_t>{768 / 4, 256}));
    EXPECT_EQ(out->find("model.layers.0.mlp.down_proj.scales")->shape[0], 768 / 32);
    EXPECT_EQ(out->find("model.layers.0.self_attn.k_proj.qweight")->shape[0], 256 * 3 / 32);
    EXPECT_EQ(out->find("model.layers.0.self_attn.q_proj.qweight")->shape[0], 256 / 8);

    std::vector<int32_t> ids;
    for (int i = 0; i < 40; ++i) ids.push_back(i * 97 % 4096);
    const auto original = causal_logits(load_model(sample_folder()), ids, 40);
    EXPECT_LT(relative_difference(causal_logits(load_model(folder / "out"), ids, 40), original), 0.25);
  }
}

}  // namespace
}  // namespace gptq::test
