// compat = gptqmodel against what that package wrote, from the same calibration. It computed in bf16, so that layers
// see inputs a little off ours: ranges that don't depend on them are equal, and codes but for the nearest ties.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "quant/convert.h"
#include "quant/job.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

const Progress kQuiet = [](int64_t, int64_t, const std::string&) {};

struct Fixture {
  const char* name;
  int bits;
  int64_t group_size;
  Symmetric symmetric = Symmetric::yes;
  Order order = Order::gar;
  StaticGroups static_groups = StaticGroups::no;
};

class CompatFixtures : public testing::TestWithParam<Fixture> {};

/// The first 40,000 characters.
std::string calibration_text(const fs::path& file) {
  const std::string text = read_file(file);
  size_t end = 0;
  for (int characters = 0; end < text.size(); ++end) {
    if ((static_cast<unsigned char>(text[end]) & 0xC0) != 0x80 && characters++ == 40000) break;
  }
  return text.substr(0, end);
}

void quantize(const fs::path& source, const fs::path& target, const Fixture& fixture,
              const std::string& text) {
  QuantOptions options;
  options.solver = {.bits = fixture.bits,
                    .group_size = fixture.group_size,
                    .symmetric = fixture.symmetric,
                    .order = fixture.order,
                    .static_groups = fixture.static_groups,
                    .compat = Compat::gptqmodel};
  options.calibration_samples = 16;
  options.calibration_length = 64;
  Job job(source, target, {}, options, kQuiet);
  job.add_text(text);
  while (job.step() == JobStep::more) {
  }
}

struct Differences {
  int64_t codes = 0, unequal = 0, far = 0, scales = 0, unequal_scales = 0, groups = 0, zeros = 0;

  void add(const QTensor& a, const QTensor& b) {
    for (size_t i = 0; i < a.codes.size(); ++i) {
      const int difference = std::abs(int{a.codes[i]} - int{b.codes[i]});
      unequal += difference != 0;
      far += difference > 1;
    }
    codes += static_cast<int64_t>(a.codes.size());
    scales += static_cast<int64_t>(a.scales.size());
    for (size_t i = 0; i < a.scales.size(); ++i)
      unequal_scales += std::fabs(a.scales[i] / b.scales[i] - 1) > 1e-3;
    groups += a.group_of != b.group_of;
    zeros += a.zeros != b.zeros;
  }
  double part() const { return static_cast<double>(unequal) / static_cast<double>(codes); }
};

TEST_P(CompatFixtures, GiveTheCodesOfTheReference) {
  const Fixture& fixture = GetParam();
  GPTQ_EXTRA_DATA(text, "text/exllamav2-calibration/tiny.utf8");
  GPTQ_EXTRA_DATA(original, "families/llama");
  GPTQ_EXTRA_DATA(reference, std::string("gptq/") + fixture.name);
  const TemporaryFolder folder;
  convert_model(original, folder / "bf16", {.format = std::nullopt, .dtype = DType::bf16}, kQuiet);
  quantize(folder / "bf16", folder / "out", fixture, calibration_text(text));

  const Loader ours(folder / "out"), theirs(reference);
  Differences all, first;  // first: the modules whose inputs nothing before them has changed
  for (const StoredLinear& linear : theirs.linears()) {
    if (!theirs.is_quantized(linear.path)) continue;
    const QTensor a = ours.quantized_weight(linear.path, linear.in_features, linear.out_features);
    const QTensor b = theirs.quantized_weight(linear.path, linear.in_features, linear.out_features);
    all.add(a, b);
    const bool untouched = linear.path.find("layers.0.self_attn") != std::string::npos &&
                           linear.path.find("o_proj") == std::string::npos;
    if (untouched) first.add(a, b);
  }
  EXPECT_GT(first.codes, 0);
  EXPECT_LT(first.part(), fixture.bits == 8 ? 0.08 : 0.03);
  EXPECT_EQ(first.unequal_scales, 0);
  EXPECT_LT(all.part(), 0.13);
  EXPECT_LE(static_cast<double>(all.far), 4e-4 * static_cast<double>(all.codes));
  if (fixture.order == Order::act && fixture.static_groups == StaticGroups::no)
    return;  // groups by order of inputs
  EXPECT_EQ(all.unequal_scales, 0);
  EXPECT_EQ(all.groups, 0);
  if (fixture.symmetric == Symmetric::yes) {
    EXPECT_EQ(all.zeros, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CompatFixtures,
                         testing::Values(Fixture{"llama-b2-g16", 2, 16}, Fixture{"llama-b3-g32", 3, 32},
                                         Fixture{"llama-b4-g32", 4, 32}, Fixture{"llama-b8-g32", 8, 32},
                                         Fixture{"llama-b4-perchannel", 4, -1, Symmetric::yes, Order::none},
                                         Fixture{"llama-b4-g16-static", 4, 16, Symmetric::yes, Order::act,
                                                 StaticGroups::yes},
                                         Fixture{"llama-b3-g32-v2-asym", 3, 32, Symmetric::no},
                                         Fixture{"llama-b4-g32-v2-asym", 4, 32, Symmetric::no}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace gptq::test
