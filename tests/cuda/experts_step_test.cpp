// Steps of models with experts as graphs: what a router chooses changes from token to token, and the step does not.
#include <cmath>
#include <memory>
#include <string>

#include "backend/trace.h"
#include "backend_support.h"
#include "model/decoder.h"
#include "model/loader.h"
#include "support/test_data.h"

namespace gptq::cuda {
namespace {

/// A model on a backend, and a sequence.
class Generation {
 public:
  Generation(const gptq::Loader& loader, std::shared_ptr<const Backend> backend)
      : backend_(std::move(backend)),
        stream_(backend_->create_stream(nullptr)),
        weights_(loader.load_outer(*backend_, Access::read)),
        decoder_(loader.spec(), *backend_, *stream_) {
    for (int64_t i = 0; i < loader.spec().layers; ++i)
      weights_.layers.push_back(loader.load_layer(*backend_, i, Access::read));
    cache_ = backend_->create_cache(decoder_.cache_shape(kSequences));
  }

  static constexpr int64_t kSequences = 12;

  /// The largest logits behind a token of each of some sequences, one step.
  std::vector<Ranked> step(const std::vector<int32_t>& tokens) {
    const auto n = static_cast<int64_t>(tokens.size());
    std::vector<Row> rows;
    for (int32_t s = 0; s < n; ++s) {
      rows.push_back({s, lengths_[s]++});
      cache_->reserve(s, lengths_[s]);
    }
    const std::vector<int64_t> lengths(tokens.size(), lengths_[0]);
    std::vector<Ranked> found(tokens.size() * kLargest);
    const RowLogits wanted{.row = 0, .rows = n, .largest = found};
    decoder_.forward(weights_, {.tokens = tokens, .rows = rows, .lengths = lengths}, *cache_, nullptr,
                     &wanted);
    return found;
  }

  static constexpr size_t kLargest = 4;

 private:
  std::shared_ptr<const Backend> backend_;
  std::unique_ptr<Stream> stream_;
  gptq::Weights weights_;
  Decoder decoder_;
  std::unique_ptr<KvCache> cache_;
  int32_t lengths_[kSequences] = {};
};

constexpr int kSteps = 12;

class ExpertsStepTest : public BackendTest {
 protected:
  /// Tokens that follow from each other, by graphs, op by op, which gives the same bits, and on the CPU, which is as near as
  /// bf16 lets it be.
  void expect_graphs(const test::fs::path& folder, size_t sequences = 1) {
    SCOPED_TRACE(folder.filename().string() + ", " + std::to_string(sequences));
    const gptq::Loader loader(folder);
    const test::TemporaryFolder trace_folder;
    Generation graphs(loader, backend_), cpu(loader, cpu_);
    Generation ops(loader, trace(backend_, std::make_shared<TraceFile>(trace_folder / "trace.json")));
    std::vector<int32_t> tokens(sequences);
    for (size_t s = 0; s < sequences; ++s) tokens[s] = static_cast<int32_t>(3 + 2 * s);
    double difference = 0, size = 0;
    // at position 0 all angles are 0, and what a step sends may be less; what comes a second time is a graph
    for (Generation* all : {&graphs, &ops, &cpu}) {
      for (int times = 0; times < 2; ++times) static_cast<void>(all->step(tokens));
    }
    const int captures = state_.captures, launches = state_.graph_launches;
    for (int step = 0; step < kSteps; ++step) {
      const int downloads = state_.downloads;
      const std::vector<Ranked> got = graphs.step(tokens);
      EXPECT_EQ(state_.downloads - downloads, 1) << "the logits, and nothing on the way";
      const std::vector<Ranked> same = ops.step(tokens), near = cpu.step(tokens);
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i].column, same[i].column) << step;
        ASSERT_EQ(got[i].value, same[i].value) << step;
        difference += std::abs(double{got[i].value} - double{near[i].value});
        size += std::abs(double{near[i].value});
      }
      for (size_t s = 0; s < sequences; ++s) tokens[s] = got[s * Generation::kLargest].column;
    }
    // a choice of experts that is the other way where two are next to each other makes a few that differ
    EXPECT_LE(difference, 0.05 * size);
    // where a chunk of attention ends, the step has another one
    EXPECT_GE(state_.graph_launches - launches, kSteps - 1);
    EXPECT_LE(state_.graph_launches - launches, kSteps);
    EXPECT_LE(state_.captures - captures, 2);
    EXPECT_EQ(state_.turns, 0);
  }
};

TEST_F(ExpertsStepTest, EveryKindOfMixture) {
  for (const char* name : {"granitemoe", "olmoe-clip", "glm4-moe-groups", "deepseek-v2-groups",
                           "deepseek-v3-yarn", "llama4-unrotated", "qwen3-5-moe"})
    expect_graphs(test::source_dir() / "tests/golden/models" / name);
}

TEST_F(ExpertsStepTest, ManySequences) {
  for (const size_t sequences : {2u, 9u, 12u})
    expect_graphs(test::source_dir() / "tests/golden/models/glm4-moe-groups", sequences);
}

TEST_F(ExpertsStepTest, OfOtherFamilies) {
  for (const char* name : {"mixtral", "qwen2_moe", "qwen3_moe", "dbrx", "phimoe", "gpt_oss"}) {
    GPTQ_EXTRA_DATA(folder, std::string("families/") + name);
    expect_graphs(folder);
  }
}

/// Experts of several widths and orders; of a batch all rows may go to one, or each to another.
TEST_F(ExpertsStepTest, KindsOfWeights) {
  constexpr int64_t kExperts = 5, kChosen = 2, kHidden = 96, kInner = 64, kRows = 3;
  const auto other = backend_->create_stream(nullptr);
  std::vector<std::unique_ptr<Linear>> all;
  std::vector<const Linear*> gates, ups, downs;
  const int bits[] = {4, 4, 8, 2, 3};
  const auto add = [&](std::vector<const Linear*>& to, int64_t rows, int64_t cols, size_t e) {
    const QTensor q = random_weights(random_, bits[e], rows, cols, 3, e % 2 == 0);
    to.push_back(all.emplace_back(backend_->prepare(q, nullptr)).get());
  };
  for (size_t e = 0; e < size_t{kExperts}; ++e) {
    add(gates, kInner, kHidden, e);
    add(ups, kInner, kHidden, e);
    add(downs, kHidden, kInner, e);
  }
  const Pair gate = make(kRows * kChosen, kInner), up = make(kRows * kChosen, kInner),
             routed = make(kRows * kChosen, kHidden);
  Pair x = make(kRows, kHidden), scores = make(kRows, kExperts), out = make(kRows, kHidden);
  Routing of_graph, of_ops;
  const auto mix = [&](Stream& stream, Routing& routing) {
    stream.route({.score = RouterScore::sigmoid, .chosen = kChosen}, scores.gpu, routing);
    stream.gather(x.gpu, routing, routed.gpu);
    const PartsProjection both[] = {{gates, gate.gpu}, {ups, up.gpu}}, down{downs, routed.gpu};
    stream.linear_parts(routed.gpu, routing, both);
    stream.activate(Act::silu, gate.gpu, &up.gpu, gate.gpu);
    stream.linear_parts(gate.gpu, routing, {&down, 1});
    stream.clear(out.gpu);
    stream.scatter_add(out.gpu, routing, Weigh::yes, routed.gpu);
  };
  for (int step = 0; step < 10; ++step) {
    scores.cpu_values = random_halves(random_, kRows * kExperts);
    if (step % 3 == 1) {
      for (int64_t row = 0; row < kRows; ++row) {
        scores.cpu_values[static_cast<size_t>(row * kExperts)] = 3;
        scores.cpu_values[static_cast<size_t>(row * kExperts + 4)] = 2;
      }
    }
    stream_->upload(scores.cpu_values.data(), scores.gpu);
    std::vector<float> got(static_cast<size_t>(kRows * kHidden)), want(got.size());
    const int before = state_.downloads;
    stream_->step(kRows, [&] { mix(*stream_, of_graph); });
    EXPECT_EQ(state_.downloads, before);
    stream_->download(out.gpu, got.data());
    mix(*other, of_ops);
    other->download(out.gpu, want.data());
    EXPECT_EQ(got, want) << step;
    EXPECT_NE(got, std::vector<float>(got.size(), 0.0f));
    stream_->fetch(of_graph);
    other->fetch(of_ops);
    EXPECT_EQ(of_graph.begin, of_ops.begin);
    if (step % 3 == 1) {
      EXPECT_EQ(of_graph.begin, (std::vector<int64_t>{0, 3, 3, 3, 3, 6}));
    }
  }
  EXPECT_EQ(state_.captures, 1);
  EXPECT_EQ(state_.graph_launches, 9);
}

}  // namespace
}  // namespace gptq::cuda
