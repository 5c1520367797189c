// The quantizer's walk over the layers on the device: wherever the states are, the same sums come out, to the bit, and no pass
// allocates what the one before it had.
#include "quant/layer_walk.h"

#include "backend_support.h"
#include "base/error.h"
#include "model/batch_rows.h"
#include "model/loader.h"
#include "support/test_data.h"

namespace gptq::cuda {
namespace {

using Place = StatePlaces::Place;

class WalkTest : public BackendTest {
 protected:
  WalkTest() {
    for (int32_t s = 0; s < 90; ++s) {  // more tokens than one batch has
      sequences_.emplace_back();
      for (int32_t i = 0; i < 24 + s % 5; ++i)
        sequences_.back().push_back((s * 31 + i * 7) % static_cast<int32_t>(loader_.spec().vocab));
    }
  }

  LayerWalk create(const StatePlaces& places) {
    return {loader_.spec(), *backend_, sequences_, FollowOriginal::no, places, nullptr, [] {}};
  }

  /// Diagonals of what all Linears read.
  std::vector<float> walk_with(const StatePlaces& places) {
    LayerWalk walk = create(places);
    walk.embed(loader_);
    std::vector<float> numbers;
    for (int64_t i = 0; i < loader_.spec().layers; ++i) {
      LayerStages layer{.now = loader_.load_layer(*backend_, i, Access::read), .original = {}};
      const std::vector<Stage> stages = stages_of(loader_.modules(i));
      for (const Stage& stage : stages) {
        const bool ends = stage.input == Input::attention_out || stage.input == Input::mlp_out;
        const auto sums = walk.collect(layer, i, {&stage, 1}, ends ? Advances::yes : Advances::no);
        const auto diagonal = walk.stream().hessian_diagonal(*sums[0].hessian);
        numbers.insert(numbers.end(), diagonal.begin(), diagonal.end());
        if (stage.input == Input::attention_out) walk.advance_attention(layer, i);
      }
      walk.advance_mlp(layer, i);
    }
    return numbers;
  }

  Loader loader_{test::source_dir() / "tests/golden/models/llama"};
  Sequences sequences_;
};

TEST_F(WalkTest, ComesToTheSameWhereverStatesAreKept) {
  const std::vector<float> wanted = walk_with({.inputs = Place::nowhere});
  EXPECT_EQ(walk_with({.states = Place::device, .inputs = Place::device}), wanted);
  EXPECT_EQ(state_.turns, 0);
}

/// A batch of the quantizer has the same rows however much is free, as a job that goes on comes to the same; one of a session
/// has as many while their activations are a small part of what is free.
TEST_F(WalkTest, TakesMoreRowsAtOnceThanTheCpu) {
  const Spec& spec = loader_.spec();
  const LayerSegments both{{backend_, {0, 1}, "cuda"}, {cpu_, {1, 1}, "cpu"}};
  const uint64_t bytes = Decoder::workspace_bytes(spec, 2048, 2);
  const auto walk_rows = [&] { return rows_at_once(spec, *backend_, 2); };
  EXPECT_EQ(rows_at_once(spec, *cpu_), Decoder::kMaxRows);
  EXPECT_EQ(session_rows(spec, *cpu_), Decoder::kMaxRows);
  EXPECT_EQ(session_rows(spec, both), Decoder::kMaxRows);
  EXPECT_EQ(session_rows(spec, LayerSegments{both.front()}), 2048);
  EXPECT_EQ(walk_rows(), 2048);
  state_.limit = state_.used + 64 * bytes;
  EXPECT_EQ(session_rows(spec, *backend_), 2048);
  state_.limit = state_.used + 64 * bytes - 1;
  EXPECT_EQ(session_rows(spec, *backend_), Decoder::kMaxRows);
  EXPECT_EQ(walk_rows(), 2048);
  state_.limit = SIZE_MAX;
  EXPECT_EQ(rows_at_once(spec, *backend_, static_cast<int64_t>((uint64_t{1} << 30) / bytes)), 2048);
  EXPECT_EQ(rows_at_once(spec, *backend_, static_cast<int64_t>((uint64_t{1} << 30) / bytes) + 1),
            Decoder::kMaxRows);
}

TEST_F(WalkTest, AllocatesNothingFromPassToPass) {
  for (std::vector<int32_t>& sequence : sequences_) sequence.resize(24, 1);
  LayerWalk walk = create({.states = Place::device, .inputs = Place::device});
  walk.embed(loader_);
  LayerStages layer{.now = loader_.load_layer(*backend_, 0, Access::read), .original = {}};
  const std::vector<Stage> stages = stages_of(loader_.modules(0));
  (void)walk.collect(layer, 0, {&stages[1], 1}, Advances::yes);  // reads the cache
  const int before = state_.allocations;
  (void)walk.collect(layer, 0, {&stages[1], 1}, Advances::yes);
  EXPECT_EQ(state_.allocations, before + 1);  // its sums
  walk.advance_attention(layer, 0);
  EXPECT_EQ(state_.allocations, before + 1);
}

TEST_F(WalkTest, WantOfMemoryForStatesLeavesNothing) {
  const size_t used = state_.used;
  size_t enough = 0;
  {
    const LayerWalk walk = create({.states = Place::device, .inputs = Place::device});
    enough = state_.used;
  }
  for (size_t limit : {used, (used + enough) / 2, enough - 1}) {
    state_.limit = limit;
    try {
      (void)create({.states = Place::device, .inputs = Place::device});
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::out_of_memory) << error.what();
    }
    EXPECT_EQ(state_.used, used);
  }
}

}  // namespace
}  // namespace gptq::cuda
