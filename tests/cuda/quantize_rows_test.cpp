// Rows of weights that stay on the device until they are codes.
#include "backend/rows_by_ops.h"
#include "quantization_support.h"

namespace gptq::cuda {
namespace {

using QuantizedRowsTest = QuantizationTest;

/// To the bit what the ops give one by one, for weights of each type that a checkpoint has.
TEST_P(QuantizedRowsTest, QuantizesRowsAsItsOpsDo) {
  make({.rows = 40, .cols = 130, .group_size = 32, .tokens = 400});
  std::vector<std::byte> halves(weights_.size() * 2);
  std::vector<double> doubles(weights_.begin(), weights_.end());
  std::vector<uint8_t> dropped(order_.size());
  dropped[5] = dropped[129] = 1;
  std::vector<int32_t> refined = order_;  // groups as they are, within them another sequence
  for (size_t i = 0; i + 32 <= refined.size(); i += 32) std::reverse(&refined[i], &refined[i + 32]);
  const auto fill = [&](auto convert) {
    for (size_t i = 0; i < weights_.size(); ++i) {
      const uint16_t half = convert(weights_[i]);
      std::memcpy(&halves[i * 2], &half, sizeof half);
    }
    return halves.data();
  };
  for (DType dtype : {DType::f32, DType::f16, DType::bf16, DType::f64}) {
    Tensor weights{.dtype = dtype, .shape = {shape_.rows, shape_.cols}};
    weights.bytes = weights_.size() * static_cast<size_t>(dtype_bits(dtype) / 8);
    weights.data = dtype == DType::f32   ? reinterpret_cast<const std::byte*>(weights_.data())
                   : dtype == DType::f64 ? reinterpret_cast<const std::byte*>(doubles.data())
                   : dtype == DType::f16 ? fill(float_to_fp16)
                                         : fill(float_to_bf16);
    RowsProblem plain{.rows = shape_.rows,
                      .cols = shape_.cols,
                      .groups = groups_,
                      .weights = weights,
                      .order = order_,
                      .group_of = group_of_,
                      .refine_order = refined,
                      .refine_group_of = group_of_,
                      .refine_diagonal_add = damping_};
    std::vector<RowsProblem> problems(6, plain);
    problems[1].dropped = dropped;
    problems[2].drifts = &gpu_side_.drifts;
    problems[2].parts = {0.75, 0.5};
    problems[3] = problems[2];
    problems[3].refine = {.sweeps = 2, .refits = 1};
    problems[4] = problems[3];
    problems[4].solve = {.symmetric = Symmetric::no, .static_groups = StaticGroups::yes};
    problems[5].refine = {.sweeps = 1};
    for (const RowsProblem& problem : problems) {
      for (const Factor* factor : std::array<const Factor*, 2>{gpu_side_.factor.get(), nullptr}) {
        if (factor == nullptr && (problem.drifts != nullptr || problem.refine.sweeps > 0)) continue;
        Rows got(problem), want(problem);
        std::string events;
        got.problem.moved = [&] { events += "moved "; };
        got.problem.solved = [&] { events += "solved"; };
        EXPECT_FALSE(stream_->quantize_rows(*gpu_side_.hessian, factor, got.problem));
        EXPECT_FALSE(rows_by_ops(*stream_, serially, *gpu_side_.hessian, factor, want.problem));
        EXPECT_EQ(got.codes, want.codes) << dtype_name(dtype) << ' ' << &problem - problems.data();
        EXPECT_EQ(got.scales, want.scales);
        EXPECT_EQ(got.zeros, want.zeros);
        EXPECT_EQ(got.loss, want.loss);
        EXPECT_EQ(events, "moved solved");
      }
    }
  }
}

TEST_P(QuantizedRowsTest, NamesTheFirstWeightThatIsNoNumber) {
  make({.rows = 20, .cols = 70, .group_size = 70, .tokens = 100});
  for (const auto& [row, column] : {std::pair{17, 3}, {4, 69}, {4, 8}})
    weights_[static_cast<size_t>(row * 70 + column)] = column == 8 ? INFINITY : NAN;
  const std::ptrdiff_t of_8 = std::find(order_.begin(), order_.end(), 8) - order_.begin(),
                       of_69 = std::find(order_.begin(), order_.end(), 69) - order_.begin();
  Rows rows({.rows = 20,
             .cols = 70,
             .groups = 1,
             .weights = {.shape = {20, 70},
                         .data = reinterpret_cast<const std::byte*>(weights_.data()),
                         .bytes = weights_.size() * sizeof(float)},
             .order = order_,
             .group_of = group_of_});
  rows.problem.moved = rows.problem.solved = [] { ADD_FAILURE() << "something was made"; };
  const std::vector<uint8_t> before = rows.codes;
  for (Side* side : {&cpu_side_, &gpu_side_}) {
    EXPECT_EQ(side->stream.quantize_rows(*side->hessian, side->factor.get(), rows.problem),
              4 * 70 + (of_8 < of_69 ? 8 : 69));
    EXPECT_EQ(rows.codes, before);
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, QuantizedRowsTest, testing::Values(Libraries::none, Libraries::some));

}  // namespace
}  // namespace gptq::cuda
