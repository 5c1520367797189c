// Every option of the solver on the device against the CPU backend, at the same inputs in bf16: the whole way from sums of them
// to codes, by the quantizer's own Solver.
#include "quant/solver.h"

#include "quantization_support.h"

namespace gptq::cuda {
namespace {

struct Option {
  const char* what;
  SolverOptions options;
};

const Option kOptions[] = {
    {"4 bits", {}},
    {"2 bits", {.bits = 2}},
    {"3 bits", {.bits = 3}},
    {"8 bits", {.bits = 8}},
    {"asymmetric", {.symmetric = Symmetric::no}},
    {"asymmetric, 2 bits, without zero points of 0",
     {.bits = 2, .symmetric = Symmetric::no, .least_zero = 1}},
    {"columns as they are", {.order = Order::none}},
    {"columns by their size", {.order = Order::act}},
    {"columns by their size, static groups", {.order = Order::act, .static_groups = StaticGroups::yes}},
    {"ranges of least squares", {.range = RangeSearch::mse}},
    {"ranges of least loss", {.range = RangeSearch::hessian}},
    {"scales in fp32", {.scale_type = ScaleType::f32}},
    {"one group", {.group_size = -1}},
    {"as GPTQModel", {.compat = Compat::gptqmodel}},
    {"GPTAQ", {.target = Target::gptaq}},
    {"targets", {.target = Target::exact}},
    {"sweeps", {.sweeps = 2}},
    {"sweeps, columns by their size", {.order = Order::act, .sweeps = 2}},
    {"targets, sweeps, refits",
     {.symmetric = Symmetric::no, .target = Target::exact, .sweeps = 3, .refits = 2}},
};

class SolverOptionsTest : public QuantizationTest {
 protected:
  SolveResult quantized(Side& side, const SolverOptions& options) {
    Solver solver(side.stream, *side.hessian, &side.drifts, options);
    return solver.quantize(weights_.data(), shape_.rows, "weights");
  }
};

/// At least 99.9 % of the codes. Sums of the device are in another order: now and then a weight in the middle between two codes
/// tips, and some of its row with it. Most options have all codes; fp32 scales have fewest, 99.93 %: there a group's largest
/// weight lies in the middle, 7.5 steps from 0, until its scale is rounded.
TEST_P(SolverOptionsTest, GiveTheCodesOfTheCpu) {
  make({.rows = 384, .cols = 192, .tokens = 500});
  for (const auto& [what, given] : kOptions) {
    SolverOptions options = given;
    if (options.group_size == 128) options.group_size = 64;
    const SolveResult want = quantized(cpu_side_, options), got = quantized(gpu_side_, options);
    EXPECT_GE(part_of_equal(got.q.codes, want.q.codes), 0.999) << what;
    EXPECT_EQ(got.method, SolveResult::Method::gptq) << what;
    EXPECT_EQ(got.q.group_of, want.q.group_of) << what;
    EXPECT_NEAR(got.loss, want.loss, 1e-3 * want.loss) << what;
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, SolverOptionsTest, testing::Values(Libraries::none, Libraries::some));

}  // namespace
}  // namespace gptq::cuda
