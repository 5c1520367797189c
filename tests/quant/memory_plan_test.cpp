// The plan of a job's memory: what is counted, what goes to files, and that absurd sizes are refused and do not wrap.
#include "quant/memory_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "support/test_data.h"

namespace gptq::test {
namespace {

using Place = StatePlaces::Place;

constexpr CalibrationSize kSome{.tokens = 1000, .longest = 50};

class MemoryPlanTest : public testing::Test {
 protected:
  MemoryPlanTest() { options_.solver.group_size = 16; }

  MemoryPlan estimate(Place states, Place inputs, const CalibrationSize& calibration = kSome) {
    constexpr uint64_t kPlenty = uint64_t{1} << 32;
    return estimate_memory(loader_, ModulePlan(loader_, options_), options_, calibration, states, inputs,
                           kPlenty, {.threads = 1});
  }
  MemoryPlan plan(const CalibrationSize& calibration = kSome, int threads = 1) {
    return plan_memory(loader_, ModulePlan(loader_, options_), options_, calibration, {.threads = threads});
  }
  static uint64_t part(const MemoryPlan& plan, std::string_view name) {
    for (const MemoryPart& one : plan.parts) {
      if (one.name.starts_with(name)) return one.bytes;
    }
    return 0;
  }

  Loader loader_{source_dir() / "tests/golden/models/llama"};  // hidden 32, intermediate 48, 2 layers
  QuantOptions options_;
};

TEST_F(MemoryPlanTest, PartsAreThoseOfThePeak) {
  const MemoryPlan whole = estimate(Place::memory, Place::memory);
  uint64_t sum = 0;
  for (const MemoryPart& one : whole.parts) sum += one.bytes;
  EXPECT_EQ(sum, whole.peak);
  EXPECT_TRUE(std::is_sorted(whole.parts.begin(), whole.parts.end(),
                             [](const MemoryPart& a, const MemoryPart& b) { return a.bytes > b.bytes; }));
  EXPECT_EQ(part(whole, "tokens"), 4u * 1000);
}

TEST_F(MemoryPlanTest, StatesAreOnADeviceThatHasRoomForThem) {
  constexpr uint64_t kStates = 4 * 1000 * 32;
  const auto on = [&](std::optional<uint64_t> free) {
    return plan_memory(loader_, ModulePlan(loader_, options_), options_, kSome, {.device_free = free});
  };
  const MemoryPlan without = on({}), full = on(0), with = on(uint64_t{64} << 30);
  EXPECT_EQ(without.states, Place::memory);
  EXPECT_EQ(full.states, Place::memory);
  EXPECT_EQ(full.inputs, Place::memory);
  EXPECT_EQ(with.states, Place::device);
  EXPECT_EQ(with.inputs, Place::device);
  EXPECT_GE(without.peak, with.peak + 2 * kStates);  // of two models
  // the first bytes that are enough for states, and for inputs, too
  const auto least = [&](auto fits) {
    uint64_t low = 0, high = uint64_t{64} << 30;
    while (high - low > 1) {
      const uint64_t middle = (low + high) / 2;
      (fits(on(middle)) ? high : low) = middle;
    }
    return high;
  };
  const uint64_t states = least([](const MemoryPlan&plan) { return plan.states == Place::device; }),
                 inputs = least([](const MemoryPlan&plan) { return plan.inputs == Place::device; });
  EXPECT_EQ(inputs, states + 2 * 1000 * 48);
  options_.memory_limit = with.peak;
  EXPECT_EQ(on(inputs).inputs, Place::device);
  EXPECT_EQ(on(states).states, Place::device);
  EXPECT_EQ(on(states - 1).states, Place::file);
}

/// Of rows that are quantized on a device the process has values and codes alone.
TEST_F(MemoryPlanTest, RowsAreOnTheDeviceThatSolvesThem) {
  options_.solver.sweeps = 2;
  const auto peak = [&](Machine::Solves solves) {
    return estimate_memory(loader_, ModulePlan(loader_, options_), options_, {.tokens = 10, .longest = 10},
                           Place::file, Place::nowhere, 0, {.solves = solves})
        .peak;
  };
  EXPECT_LT(peak(Machine::Solves::on_a_device), peak(Machine::Solves::in_its_memory));
}

TEST_F(MemoryPlanTest, StatesAreInMemoryOrInFiles) {
  // states [1000, 32]; what the MLP's last Linear reads [1000, 48]
  constexpr uint64_t kStates = 4 * 1000 * 32, kInputs = 4 * 1000 * 48;
  for (const auto& [target, models] : {std::pair(Target::sequential, 1), std::pair(Target::exact, 2)}) {
    options_.solver.target = target;
    const uint64_t states = kStates * static_cast<uint64_t>(models);
    const MemoryPlan memory = estimate(Place::memory, Place::memory),
                     mixed = estimate(Place::memory, Place::file), file = estimate(Place::file, Place::file),
                     again = estimate(Place::file, Place::nowhere);
    EXPECT_EQ(part(memory, "states"), states + kInputs);
    EXPECT_EQ(part(mixed, "states"), states);
    EXPECT_EQ(part(file, "states"), 0u);
    EXPECT_EQ(memory.files, 0u);
    EXPECT_EQ(mixed.files, kInputs);
    EXPECT_EQ(file.files, states + kInputs);
    EXPECT_EQ(again.files, states);
    EXPECT_EQ(memory.peak - mixed.peak, kInputs);
    EXPECT_EQ(mixed.peak - file.peak, states);
  }
}

TEST_F(MemoryPlanTest, WhatIsComparedTakesMemory) {
  const auto peak = [&](Target target, double inputs, double stream) {
    options_.solver.target = target;
    options_.solver.target_alpha = inputs;
    options_.solver.residual_alpha = stream;
    return estimate(Place::file, Place::nowhere).peak;
  };
  const uint64_t none = peak(Target::exact, 0, 0), inputs = peak(Target::exact, 0.75, 0),
                 stream = peak(Target::exact, 0, 0.5), both = peak(Target::exact, 0.75, 0.5);
  EXPECT_EQ(none, peak(Target::sequential, 0.75, 0.5));
  EXPECT_LT(none, stream);
  EXPECT_LT(stream, inputs);  // sums of [32, 48] are less than those of [48, 48]
  EXPECT_LT(inputs, both);
}

TEST_F(MemoryPlanTest, TakesTheFastestThatTheLimitAllows) {
  const uint64_t all = plan().peak;
  EXPECT_EQ(all, estimate(Place::memory, Place::memory).peak);
  options_.memory_limit = all;
  EXPECT_EQ(plan().states, Place::memory);
  EXPECT_EQ(plan().inputs, Place::memory);
  options_.memory_limit = all - 1;
  EXPECT_EQ(plan().states, Place::memory);
  EXPECT_NE(plan().inputs, Place::memory);
  options_.memory_limit = plan().peak - 1;
  const MemoryPlan least = plan();
  EXPECT_EQ(least.states, Place::file);
  EXPECT_NO_THROW(check_limit(least, least.peak));
  try {
    check_limit(least, least.peak - 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    EXPECT_NE(std::string(error.what()).find(least.parts.front().name), std::string::npos) << error.what();
  }
}

TEST_F(MemoryPlanTest, AModelThatWritesItsTextIsInMemory) {
  uint64_t weights = 0;
  for (const TensorInfo& tensor : loader_.checkpoint().tensors()) weights += tensor.bytes;
  // keys and values of 2 layers, of 2 heads of 8, of 64 sequences at a time
  const MemoryPlan own =
      estimate(Place::file, Place::nowhere, {.tokens = 1'000'000, .longest = 100'000, .from_model = true});
  EXPECT_EQ(part(own, "the whole model"), weights);
  EXPECT_EQ(part(own, "its keys and values"), uint64_t{4} * 64 * 100'000 * 2 * 2 * (8 + 8));
}

/// Each sequence that is under way has one.
TEST_F(MemoryPlanTest, StatesCount) {
  const Loader loader(source_dir() / "tests/golden/models/qwen3-5-short-conv");
  const auto planned = [&](const CalibrationSize& size) {
    return estimate_memory(loader, ModulePlan(loader, options_), options_, size, Place::file, Place::nowhere,
                           0, {.threads = 1});
  };
  const uint64_t state = 6 * 5 * 3 + (2 * 2 * 5 + 6 * 3);  // S, and one row of the convolution's inputs
  const MemoryPlan few = planned({.tokens = 1000, .longest = 50, .sequences = 1, .shortest = 10}),
                   many = planned({.tokens = 1000, .longest = 50, .sequences = 40, .shortest = 10});
  EXPECT_EQ(part(many, "activations") - part(few, "activations"), 39 * state * 4);
  const MemoryPlan own = planned({.tokens = 10'000'000, .longest = 100'000, .from_model = true});
  const uint64_t keys = uint64_t{100'000} * 2 * (8 + 8);
  EXPECT_EQ(part(own, "its keys and values"), 4 * 64 * (keys + 2 * state));
}

TEST_F(MemoryPlanTest, SizesWithoutANumberAreRefused) {
  for (const CalibrationSize& absurd :
       {CalibrationSize{.tokens = int64_t{1} << 58, .longest = 64},
        CalibrationSize{.tokens = 64, .longest = INT64_MAX},
        CalibrationSize{.tokens = 64, .longest = 64, .text_bytes = UINT64_MAX / 2}}) {
    try {
      plan(absurd);
      ADD_FAILURE() << absurd.tokens;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::limit) << error.what();
    }
  }
}

}  // namespace
}  // namespace gptq::test
