// Batches of many rows through the backend: attention in pieces, and what is ahead of the device, which a cancel waits for.
#include <algorithm>
#include <array>
#include <utility>

#include "backend_support.h"
#include "cuda/attention.h"

namespace gptq::cuda {
namespace {

class LargeBatchTest : public BackendTest {};

/// Of so many rows as are worth some launches, no more is ahead of the device than of as many launches for few: a cancel waits
/// for that.
TEST_F(LargeBatchTest, PacesItselfByRows) {
  Tensor weight = float_tensor(random_halves(random_, 16 * 32));
  weight.shape = {16, 32};
  const auto w = backend_->prepare(weight, nullptr);
  int paces = 0;
  state_.at_pace = [&] { ++paces; };
  for (const auto& [rows, wanted] : {std::array{20, 1}, {512, 1}, {513, 2}, {2048, 4}}) {
    const Pair x = make(rows, 32), y = make(rows, 16);
    stream_->linear(*w, x.gpu, y.gpu);
    EXPECT_EQ(std::exchange(paces, 0), wanted) << rows;
    const Linear* const parts[] = {w.get(), w.get()};
    const PartsProjection projection{parts, y.gpu};
    Routing routing;
    stream_->route({}, make(rows, 2).gpu, routing);
    stream_->linear_parts(x.gpu, routing, {&projection, 1});
    EXPECT_EQ(std::exchange(paces, 0), wanted) << rows;
  }
  state_.at_pace = [] {};
}

/// Heads of a kernel, also where rows go in pieces, and heads that are too large for it.
TEST_F(LargeBatchTest, AttendsToWhatIsStored) {
  struct {
    int64_t dim;
    AttentionLimits limits;
    int paces;
  } const cases[] = {{12, {}, 1}, {12, {.seen = 1200, .least_rows = 8}, 5}, {kMostHeadDim + 2, {}, 0}};
  for (const auto& [dim, limits, paces] : cases) {
    backend_ =
        create_cuda_backend(create_host_device(state_), {.threads = 1, .compute = Compute::fast}, limits);
    stream_ = backend_->create_stream(&cancel_);
    const CacheShape shape{.layers = {{1, 8, 8}, {2, dim, 7}}, .sequences = 3};
    const auto cpu = cpu_->create_cache(shape), gpu = backend_->create_cache(shape);
    const AttentionParams params{.heads = 4, .kv_heads = 2, .key_dim = dim, .value_dim = 7, .scale = 0.3f};
    // two sequences, the second of which goes over the end of a page, then a step of both
    std::vector<Row> rows;
    for (int32_t p = 0; p < 5; ++p) rows.push_back({2, p});
    for (int32_t p = 0; p < 70; ++p) rows.push_back({0, p});
    for (const int step : {0, 1}) {
      if (step == 1) rows = {{0, 70}, {2, 5}};
      for (const Row& row : rows) {
        cpu->reserve(row.sequence, row.position + 1);
        gpu->reserve(row.sequence, row.position + 1);
      }
      const auto n = static_cast<int64_t>(rows.size());
      Pair q = make(n, 4 * dim), k = make(n, 2 * dim), v = make(n, 2 * 7), out = make(n, 4 * 7);
      const std::vector<float> cos = random_floats(random_, n * 3), sin = random_floats(random_, n * 3);
      const RopeRows rope{cos.data(), sin.data(), 6, RopeLayout::half, 2};
      reference_->rope_store(rope, rows, q.cpu, k.cpu, v.cpu, *cpu, 1);
      stream_->rope_store(rope, rows, q.gpu, k.gpu, v.gpu, *gpu, 1);
      expect_same(q, "rotated queries");
      expect_same(k, "rotated keys");
      reference_->attention(params, rows, q.cpu, *cpu, 1, out.cpu);
      int count = 0;
      state_.at_pace = [&] { ++count; };
      stream_->attention(params, rows, q.gpu, *gpu, 1, out.gpu);
      state_.at_pace = [] {};
      EXPECT_EQ(count, step == 0 ? paces : std::min(paces, 1));
      expect_same(out, "attention", 4 * kRounding, 0.5f);
    }
  }
}

}  // namespace
}  // namespace gptq::cuda
