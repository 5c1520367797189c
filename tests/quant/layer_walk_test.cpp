// States on their way through the layers: wherever they are kept, the same sums come out, to the bit.
#include "quant/layer_walk.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/folder.h"
#include "model/loader.h"
#include "quant/solver.h"
#include "support/test_data.h"

namespace gptq::test {
namespace {

using Place = StatePlaces::Place;

TEST(StateStore, GivesBackWhatWasPutInWhereverItIsKept) {
  const TemporaryFolder folder;
  const WorkFolder work(folder / "out", Overwrite::no);
  const auto backend = create_backend("cpu", {.threads = 1});
  const auto stream = backend->create_stream(nullptr);
  const auto memory = stream->allocate(6 * 8 * stream->element_bytes());
  const Matrix rows{.data = memory->data(), .rows = 6, .cols = 8};
  std::vector<float> given(48), got(48);
  for (size_t i = 0; i < given.size(); ++i) given[i] = static_cast<float>(i) / 3;
  given[5] = -0.0f;
  StateStore stores[] = {StateStore(80), StateStore(80, *stream), StateStore(80, work, "states")};
  for (StateStore& store : stores) {
    stream->upload(given.data(), rows);
    store.put(*stream, rows, 4);
    stream->upload(got.data(), rows);
    store.get(*stream, 4, rows);
    std::vector<float> back(48);
    stream->download(rows, back.data());
    EXPECT_EQ(std::memcmp(back.data(), given.data(), back.size() * sizeof(float)), 0);
    store.get(*stream, 7, {.data = rows.data, .rows = 3, .cols = 8});  // rows 3 to 5
    stream->download({.data = rows.data, .rows = 3, .cols = 8}, back.data());
    EXPECT_EQ(std::memcmp(back.data(), given.data() + 24, 24 * sizeof(float)), 0);
    EXPECT_THROW(store.put(*stream, rows, 5), Error);
    EXPECT_THROW(store.get(*stream, -1, rows), Error);
  }
}

enum class Passes : uint8_t { one, each_input };

/// All codes and losses of a model whose layers are solved in turn, and what its head reads.
class Walk {
 public:
  Walk(const fs::path& folder, const StatePlaces& places, FollowOriginal follow, Passes passes,
       uint64_t together = UINT64_MAX)
      : loader_(folder), together_(together), backend_(create_backend("cpu", {.threads = 2})) {
    for (int32_t s = 0; s < 24; ++s) {  // more tokens than one batch has
      sequences_.emplace_back();
      for (int32_t i = 0; i < 24 + s % 5; ++i)
        sequences_.back().push_back((s * 31 + i * 7) % static_cast<int32_t>(loader_.spec().vocab));
    }
    LayerWalk walk(loader_.spec(), *backend_, sequences_, follow, places, nullptr, [] {});
    walk.embed(loader_);
    for (int64_t i = 0; i < loader_.spec().layers; ++i) pass(walk, i, follow, passes);
    const InputSums head = walk.collect_head(loader_.load_around(*backend_, Access::read));
    const auto diagonal = walk.stream().hessian_diagonal(*head.hessian);
    numbers.insert(numbers.end(), diagonal.begin(), diagonal.end());
  }

  std::vector<uint8_t> codes;
  std::vector<double> numbers;

 private:
  void pass(LayerWalk& walk, int64_t index, FollowOriginal follow, Passes passes) {
    LayerStages layer{.now = loader_.load_layer(*backend_, index, Access::read), .original = {}};
    if (follow != FollowOriginal::no) layer.original = layer.now;
    const std::vector<Stage> stages = stages_of(loader_.modules(index));
    if (passes == Passes::one) {
      const auto sums = walk.collect_all(layer, index, stages, Advances::yes);
      for (size_t i = 0; i < stages.size(); ++i) solve(walk, layer, stages[i], sums[i]);
      walk.advance_attention(layer, index);
    } else {
      for (std::span<const Stage> left(stages), part; !left.empty(); left = left.subspan(part.size())) {
        part = stages_together(left, together_);
        const bool advances = part.size() == left.size() || part[0].input == Input::attention_out;
        const auto sums = walk.collect(layer, index, part, advances ? Advances::yes : Advances::no);
        for (size_t i = 0; i < part.size(); ++i) solve(walk, layer, part[i], sums[i]);
        if (part[0].input == Input::attention_out) walk.advance_attention(layer, index);
      }
    }
    walk.advance_mlp(layer, index);
  }

  void solve(LayerWalk& walk, LayerStages& layer, const Stage& stage, const InputSums& sums) {
    const SolverOptions options{.group_size = 16, .target = Target::exact};
    Solver solver(walk.stream(), *sums.hessian, &sums.drifts, options);
    for (const StoredLinear* linear : stage.linears) {
      const Tensor weight = loader_.dense_weight(*linear, Access::read);
      const SolveResult result = solver.quantize(to_float(weight).data(), weight.shape[0], linear->path);
      codes.insert(codes.end(), result.q.codes.begin(), result.q.codes.end());
      numbers.push_back(result.loss);
      const auto bias = loader_.bias(*linear, Access::read);
      set_module(layer.now, *backend_, loader_.spec(), *linear, result.q, bias ? &*bias : nullptr);
    }
  }

  Loader loader_;
  uint64_t together_;  // bytes of sums in one pass
  std::shared_ptr<const Backend> backend_;
  Sequences sequences_;
};

TEST(LayerWalk, ComesToTheSameWhereverStatesAreKept) {
  for (const char* model : {"llama", "gpt2", "qwen2-window"}) {
    const fs::path path = source_dir() / "tests/golden/models" / model;
    for (FollowOriginal follow :
         {FollowOriginal::no, FollowOriginal::inputs, FollowOriginal::inputs_and_stream}) {
      for (Passes passes : {Passes::one, Passes::each_input}) {
        const TemporaryFolder folder;
        const WorkFolder work(folder / "out", Overwrite::no);
        const Walk computed(path, {.inputs = Place::nowhere}, follow, passes);
        for (Place states : {Place::memory, Place::device, Place::file}) {
          for (Place inputs : {Place::memory, Place::device, Place::file, Place::nowhere}) {
            SCOPED_TRACE(std::string(model) + ", places " + std::to_string(static_cast<int>(states)) + " " +
                         std::to_string(static_cast<int>(inputs)));
            const Walk kept(path, {.states = states, .inputs = inputs, .folder = &work}, follow, passes);
            EXPECT_EQ(kept.codes, computed.codes);
            EXPECT_EQ(kept.numbers, computed.numbers);
          }
        }
        EXPECT_EQ(list_folder(work.path()), std::vector<std::string>{"process"});
      }
    }
  }
}

TEST(LayerWalk, ComparesNothingThatNobodyAsksFor) {
  const auto follow = [](Target target, double inputs, double residual) {
    return follow_original({.target = target, .target_alpha = inputs, .residual_alpha = residual});
  };
  EXPECT_EQ(follow(Target::exact, 0.75, 0.5), FollowOriginal::inputs_and_stream);
  EXPECT_EQ(follow(Target::exact, 0.75, 0), FollowOriginal::inputs);
  EXPECT_EQ(follow(Target::exact, 0, 0.5), FollowOriginal::stream);
  EXPECT_EQ(follow(Target::exact, 0, 0), FollowOriginal::no);
  EXPECT_EQ(follow(Target::gptaq, 0, 0.5), FollowOriginal::no);

  const Loader loader(source_dir() / "tests/golden/models/llama");
  const auto backend = create_backend("cpu", {.threads = 1});
  const Sequences sequences{{1, 2, 3, 4}};
  LayerWalk walk(loader.spec(), *backend, sequences, FollowOriginal::stream, {}, nullptr, [] {});
  walk.embed(loader);
  LayerStages layer{.now = loader.load_layer(*backend, 0, Access::read), .original = {}};
  layer.original = layer.now;
  const std::vector<Stage> stages = stages_of(loader.modules(0));
  const auto sums = walk.collect_all(layer, 0, stages, Advances::yes);
  for (const InputSums& one : sums) EXPECT_EQ(one.drifts.inputs, nullptr);
  EXPECT_EQ(sums[0].drifts.residual, nullptr);
  EXPECT_NE(sums.back().drifts.residual, nullptr);  // of what the MLP's last Linear reads
}

TEST(LayerWalk, DriftsAreWhereSomethingWasQuantizedBefore) {
  Spec spec = Loader(source_dir() / "tests/golden/models/llama").spec();
  constexpr auto both = FollowOriginal::inputs_and_stream;
  const auto has = [&](int64_t layer, Input input) {
    const DriftsOf drifts = drifts_of(spec, both, layer, input);
    return std::pair(drifts.inputs, drifts.stream);
  };
  EXPECT_EQ(has(0, Input::attention), std::pair(false, false));
  EXPECT_EQ(has(0, Input::attention_out), std::pair(true, false));
  EXPECT_EQ(has(0, Input::mlp), std::pair(true, false));
  EXPECT_EQ(has(0, Input::mlp_out), std::pair(true, true));
  EXPECT_EQ(has(1, Input::attention), std::pair(true, false));
  EXPECT_EQ(has(1, Input::attention_out), std::pair(true, true));
  spec.traits.flow = Flow::parallel;  // the MLP reads what the attention does
  EXPECT_EQ(has(0, Input::mlp), std::pair(false, false));
  EXPECT_EQ(has(0, Input::mlp_out), std::pair(true, true));
  spec.traits.flow = Flow::post;  // outputs are added by way of a norm
  EXPECT_EQ(has(1, Input::mlp_out), std::pair(true, false));
}

TEST(LayerWalk, ComesToTheSameForAllExpertsAtOnceAndForEach) {
  for (const char* model : {"families/qwen2_moe", "families/gpt_oss", "families/llama4_text"}) {
    GPTQ_EXTRA_DATA(path, model);
    for (FollowOriginal follow : {FollowOriginal::no, FollowOriginal::inputs_and_stream}) {
      SCOPED_TRACE(model);
      const Walk all(path, {}, follow, Passes::each_input);
      for (uint64_t bytes : {0, 20'000}) {
        const Walk some(path, {}, follow, Passes::each_input, bytes);
        EXPECT_EQ(some.codes, all.codes);
        EXPECT_EQ(some.numbers, all.numbers);
      }
    }
  }
}

}  // namespace
}  // namespace gptq::test
