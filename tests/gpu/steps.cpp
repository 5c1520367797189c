#include "steps.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <vector>

#include "base/random.h"
#include "base/stopwatch.h"
#include "cuda/backend_cuda.h"
#include "cuda/linear_cuda.h"
#include "random_weights.h"

namespace gptq::cuda {
namespace {

// a model of 1.1B parameters; its position is behind so many others
constexpr int64_t kHidden = 2048, kInner = 5632, kHeads = 32, kKvHeads = 4, kHeadDim = 64, kLayers = 22;
// layers of Qwen3-30B-A3B's experts instead of the one MLP
constexpr int64_t kMixtures = 4, kExperts = 128, kChosen = 8, kExpertInner = 768;
constexpr int32_t kFirst = 1000, kSteps = 100, kWarm = 8;
constexpr int kRounds = 3;

using Linears = std::vector<std::unique_ptr<Linear>>;

struct Layer {
  std::unique_ptr<Linear> q, k, v, o, gate, up, down;
  // where there is no gate
  std::unique_ptr<Linear> router{};
  Linears gates{}, ups{}, downs{};
};

/// All layers have the same numbers, each in memory of its own.
std::vector<Layer> make_layers(const std::shared_ptr<Loader>& loader, int64_t dense, int64_t mixtures) {
  const QTensor square = test::random_weights(kHidden, kHidden),
                head = test::random_weights(kKvHeads * kHeadDim, kHidden),
                wide = test::random_weights(kInner, kHidden), back = test::random_weights(kHidden, kInner),
                router = test::random_weights(kExperts, kHidden),
                narrow = test::random_weights(kExpertInner, kHidden),
                wider = test::random_weights(kHidden, kExpertInner);
  const auto linear = [&](const QTensor& weights) {
    return std::make_unique<CudaLinear>(loader, weights, std::span<const float>());
  };
  const auto experts = [&](const QTensor& weights) {
    Linears all;
    for (int64_t i = 0; i < kExperts; ++i) all.push_back(linear(weights));
    return all;
  };
  std::vector<Layer> layers;
  for (int64_t i = 0; i < dense + mixtures; ++i) {
    Layer layer{linear(square), linear(head), linear(head), linear(square), nullptr, nullptr, nullptr};
    if (i < dense) {
      layer.gate = linear(wide);
      layer.up = linear(wide);
      layer.down = linear(back);
    } else {
      layer.router = linear(router);
      layer.gates = experts(narrow);
      layer.ups = experts(narrow);
      layer.downs = experts(wider);
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

std::vector<const Linear*> all_of(const Linears& linears) {
  std::vector<const Linear*> all;
  for (const auto& linear : linears) all.push_back(linear.get());
  return all;
}

class Model {
 public:
  Model(const Backend& backend, const std::vector<Layer>& layers, int64_t sequences)
      : sequences_(sequences),
        layers_(layers),
        stream_(backend.create_stream(nullptr)),
        cache_(backend.create_cache(
            {.layers = std::vector<CacheLayer>(
                 layers.size(), {.kv_heads = kKvHeads, .key_dim = kHeadDim, .value_dim = kHeadDim}),
             .sequences = sequences})),
        memory_(stream_->allocate(kParts * part_bytes())) {
    Random random(3);
    for (int64_t i = 0; i < sequences * kHidden; ++i)
      embedded_.push_back(static_cast<float>(2 * random.uniform() - 1));
    const std::vector<float> ones(kHidden, 1.0f);
    norm_ = backend.prepare_vector(float_tensor(ones));
    for (int32_t s = 0; s < sequences; ++s) cache_->reserve(s, kFirst + kSteps);
  }

  enum class As : uint8_t { graphs, ops };
  /// Seconds of a step, with what the sampler would wait for.
  double seconds(As as) {
    std::vector<float> one(kHidden);
    const std::function<void()> ops = [&] { run(); };
    position_ = kFirst;
    Stopwatch watch;
    for (int32_t i = 0; i < kSteps; ++i, ++position_) {
      if (i == kWarm) watch = {};
      if (as == As::graphs) {
        stream_->step(sequences_, ops);
      } else {
        ops();
      }
      stream_->download({memory_->data(), 1, kHidden}, one.data());
    }
    return watch.seconds() / (kSteps - kWarm);
  }

 private:
  static constexpr size_t kParts = 8;
  size_t part_bytes() const {
    return static_cast<size_t>(sequences_ * kChosen * kHidden) * stream_->element_bytes();
  }
  Matrix part(size_t i, int64_t cols) const { return {memory_->data() + i * part_bytes(), sequences_, cols}; }

  void run() {
    std::vector<Row> rows;
    for (int32_t s = 0; s < sequences_; ++s) rows.push_back({s, position_});
    const std::vector<float> cos(static_cast<size_t>(sequences_ * kHeadDim / 2), 0.8f), sin(cos.size(), 0.6f);
    const Matrix x = part(0, kHidden), q = part(1, kHidden), k = part(2, kKvHeads * kHeadDim),
                 v = part(3, kKvHeads * kHeadDim), a = part(4, kHidden), h = part(5, kHidden),
                 gate = part(6, kInner), up = part(7, kInner);
    stream_->upload(embedded_.data(), x);
    for (size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      stream_->norm(Norm::rms, x, *norm_, nullptr, 1e-5f, h);
      const Projection projections[] = {{layer.q.get(), q}, {layer.k.get(), k}, {layer.v.get(), v}};
      stream_->linears(h, projections);
      stream_->rope_store({cos.data(), sin.data(), kHeadDim}, rows, q, k, v, *cache_,
                          static_cast<int64_t>(i));
      stream_->attention({.heads = kHeads,
                          .kv_heads = kKvHeads,
                          .key_dim = kHeadDim,
                          .value_dim = kHeadDim,
                          .scale = 0.125f},
                         rows, q, *cache_, static_cast<int64_t>(i), a);
      stream_->linear(*layer.o, a, h);
      stream_->add(x, h, 1.0f);
      stream_->norm(Norm::rms, x, *norm_, nullptr, 1e-5f, h);
      if (layer.router) {
        mix_experts(layer, h, x);
        continue;
      }
      stream_->linear(*layer.gate, h, gate);
      stream_->linear(*layer.up, h, up);
      stream_->activate(Act::silu, gate, &up, gate);
      stream_->linear(*layer.down, gate, h);
      stream_->add(x, h, 1.0f);
    }
  }

  /// x += what the experts of each row give
  void mix_experts(const Layer& layer, Matrix h, Matrix x) {
    const Matrix scores = part(1, kExperts);
    stream_->linear(*layer.router, h, scores);
    stream_->route({.chosen = kChosen, .renormalize = Renormalize::yes}, scores, routing_);
    const auto entries = [&](size_t i, int64_t cols) {
      return Matrix{memory_->data() + i * part_bytes(), sequences_ * kChosen, cols};
    };
    const Matrix routed = entries(2, kHidden), gate = entries(6, kExpertInner), up = entries(7, kExpertInner);
    stream_->gather(h, routing_, routed);
    const auto gates = all_of(layer.gates), ups = all_of(layer.ups), downs = all_of(layer.downs);
    const PartsProjection both[] = {{gates, gate}, {ups, up}}, down{downs, routed};
    stream_->linear_parts(routed, routing_, both);
    stream_->activate(Act::silu, gate, &up, gate);
    stream_->linear_parts(gate, routing_, {&down, 1});
    stream_->scatter_add(x, routing_, Weigh::yes, routed);
  }

  int64_t sequences_;
  const std::vector<Layer>& layers_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<Vector> norm_;
  Routing routing_;
  std::vector<float> embedded_;
  int32_t position_ = 0;
};

}  // namespace

void measure_steps(const std::shared_ptr<Device>& device, test::Report& report) {
  const auto backend = create_cuda_backend(device, {.threads = 1, .compute = Compute::fast});
  const auto loader = std::make_shared<Loader>(device);
  const auto measure = [&](const char* name, const std::vector<Layer>& layers) {
    for (const int64_t sequences : {1, 8}) {
      Model model(*backend, layers, sequences);
      double graphs = 1e30, ops = 1e30;
      for (int round = 0; round < kRounds; ++round) {
        ops = std::min(ops, model.seconds(Model::As::ops));
        graphs = std::min(graphs, model.seconds(Model::As::graphs));
      }
      report.add({{"name", name},
                  {"sequences", sequences},
                  {"seconds_as_graph", graphs},
                  {"seconds_op_by_op", ops}});
      std::printf("a %s, of %ld sequences: %8.1f us as a graph, %8.1f us op by op\n", name,
                  static_cast<long>(sequences), graphs * 1e6, ops * 1e6);
    }
  };
  measure("step, 1.1B int4 without head", make_layers(loader, kLayers, 0));
  measure("step, 4 layers of 30B-A3B's mixtures, int4", make_layers(loader, 0, kMixtures));
}

}  // namespace gptq::cuda
