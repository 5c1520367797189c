// The report: the energy that errors are compared with, its JSON, and the page, which can't be broken out of.
#include "quant/report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/json_writer.h"
#include "quant/job.h"
#include "quant/solver_support.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

using nlohmann::json;

/// Mean over tokens of |x W^T|^2, in fp64.
double plain_energy(const std::vector<float>& x, const std::vector<float>& w, size_t cols) {
  double energy = 0;
  for (size_t t = 0; t < x.size(); t += cols) {
    for (size_t r = 0; r < w.size(); r += cols) {
      double y = 0;
      for (size_t k = 0; k < cols; ++k) y += double{x[t + k]} * w[r + k];
      energy += y * y;
    }
  }
  return energy / (static_cast<double>(x.size()) / static_cast<double>(cols));
}

TEST(Report, OutputEnergy) {
  CpuBench bench;
  for (int cols : {1, 33, 160}) {
    const auto x = correlated_inputs(200, cols, 3);
    const auto hessian = bench.hessian(x, cols);
    const auto few = normal(20 * cols, 4), many = normal(1500 * cols, 5);
    const double exact = plain_energy(x, few, static_cast<size_t>(cols));
    EXPECT_NEAR(output_energy(*bench.stream, *hessian, few, SampledRows(20)), exact, 1e-4 * exact) << cols;
    // more rows than are looked at: an estimate
    const double whole = plain_energy(x, many, static_cast<size_t>(cols));
    const SampledRows sampled(1500);
    std::vector<float> part;
    for (int64_t i = 0; i < sampled.count; ++i) {
      ASSERT_TRUE(sampled.at(i) < 1500 && (i == 0 || sampled.at(i) > sampled.at(i - 1)));
      part.insert(part.end(), many.begin() + sampled.at(i) * cols, many.begin() + (sampled.at(i) + 1) * cols);
    }
    EXPECT_NEAR(output_energy(*bench.stream, *hessian, part, sampled), whole, 0.2 * whole) << cols;
  }
  const auto nothing = bench.stream->create_hessian(8);
  EXPECT_EQ(output_energy(*bench.stream, *nothing, normal(16, 1), SampledRows(2)), 0);
}

TEST(Report, WhatFollowsFromAResult) {
  SolveResult result;
  result.q = {.bits = 4, .rows = 2, .cols = 64, .groups = 2};
  result.q.scales = {4, 1, 2, 3};
  result.loss = 3;
  const ModuleReport report = describe(result, 6);
  EXPECT_EQ(report.weights, 128);
  EXPECT_DOUBLE_EQ(report.bits_per_weight, 4 + 20 * 2 / 64.0);
  EXPECT_EQ(report.relative_error, 0.5);
  EXPECT_EQ(report.scales, (std::array<double, 5>{1, 1, 2, 3, 4}));
  EXPECT_GT(report.memory, 1 << 20);
  EXPECT_EQ(describe(result, 0).relative_error, std::nullopt);
  EXPECT_EQ(describe(result, INFINITY).relative_error, std::nullopt);
}

TEST(Report, ModulesAreReadAsTheyWereWritten) {
  const ModuleReport known{.name = "a\"b",
                           .bits = 3,
                           .group_size = -1,
                           .weights = 1 << 30,
                           .bits_per_weight = 3.25,
                           .method = SolveResult::Method::rounded,
                           .loss = 0.1,
                           .damp = 0.06,
                           .seconds = 1.5,
                           .relative_error = 1e-9,
                           .scales = {0, 1e-8, 1, 2, 65504},
                           .memory = int64_t{1} << 40,
                           .note = "rounded"};
  ModuleReport unknown = known;
  unknown.relative_error = {};
  unknown.loss = INFINITY;
  for (const ModuleReport& module : {known, unknown}) {
    const auto written = [](const ModuleReport& one) {
      JsonWriter json;
      json.begin_object();
      write_members(json, one);
      json.end_object();
      return json.take();
    };
    const std::string text = written(module);
    const JsonDocument document = parse_json(text, "test");
    EXPECT_EQ(written(read_module_report(JsonObject(document, "test"))), text);
  }
}

TEST(Report, JsonAndPage) {
  const QuantOptions options;
  const ModuleReport modules[] = {
      {.name = "</script><script>alert(1)</script>", .bits = 4, .relative_error = {}, .note = "<!--"}};
  const std::string warnings[] = {"a & b \"c\" <d>"};
  const std::string text = report_json(
      {.model = "m<b>", .options = options, .modules = modules, .warnings = warnings, .seconds = 1});
  const json report = json::parse(text);
  EXPECT_TRUE(report["modules"][0]["relative_error"].is_null());
  EXPECT_EQ(report["modules"][0]["scales"].size(), 5u);

  const std::string page = report_page(text);
  const size_t begin = page.find('>', page.find("id=\"data\"")) + 1, end = page.find("</script>", begin);
  EXPECT_EQ(json::parse(page.substr(begin, end - begin)), report);
  EXPECT_EQ(page.find('<', begin), end);
  EXPECT_TRUE(page.starts_with("<!doctype html>"));
  for (const char* outside : {"src=", "href=", "@import", "url(", "fetch(", "innerHTML"})
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
}

TEST(Report, IsPartOfTheFolder) {
  for (WriteReport wanted : {WriteReport::yes, WriteReport::no}) {
    const TemporaryFolder folder;
    QuantOptions options;
    options.report = wanted;
    options.solver.bits = 3;
    Job job(source_dir() / "tests/golden/models/llama", folder / "out", {}, options,
            [](int64_t, int64_t, const std::string&) {});
    job.add_tokens(std::vector<int32_t>{5, 9, 20, 3, 60, 31, 2, 8, 44, 17, 6, 30, 12, 59, 33, 40});
    while (job.step() == JobStep::more) continue;
    EXPECT_EQ(fs::exists(folder / "out/quantize_report.json"), wanted == WriteReport::yes);
    EXPECT_EQ(fs::exists(folder / "out/quantize_report.html"), wanted == WriteReport::yes);
    EXPECT_NO_THROW(load_model(folder / "out"));
    if (wanted == WriteReport::no) continue;
    const json report = json::parse(read_file(folder / "out/quantize_report.json"));
    EXPECT_EQ(report["model"], "llama");
    ASSERT_EQ(report["modules"].size(), 14u);
    for (const json& module : report["modules"]) {
      EXPECT_GT(module["relative_error"], 0) << module;
      EXPECT_LT(module["relative_error"], 0.5) << module;
      EXPECT_GT(module["scales"][0], 0) << module;
    }
  }
}

}  // namespace
}  // namespace gptq::test
