// How much memory a job will take, before it takes it; and from that, what it keeps in files.
//
// The estimate adds up what is there at the same time, moment by moment of a layer, and takes the largest sum. It knows
// the sizes of the CPU backend; tests hold it against what processes really took.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/loader.h"
#include "quant/layer_walk.h"
#include "quant/module_plan.h"
#include "quant/options.h"

namespace gptq {

/// Tokens that go through the model, and the text that they are cut from.
struct CalibrationSize {
  int64_t tokens = 0, longest = 0;  // of all sequences, of one
  int64_t sequences = 1, shortest = 1;
  uint64_t text_bytes = 0;
  bool from_model = false;  // the model writes the text, and is in memory for that
};

/// Something that is in memory.
struct MemoryPart {
  std::string name;
  uint64_t bytes = 0;
};

struct MemoryPlan {
  StatePlaces::Place states = StatePlaces::Place::memory, inputs = StatePlaces::Place::memory;
  uint64_t sums = 0;              // most bytes of Hessians of experts that one pass collects
  uint64_t peak = 0;              // of the process
  uint64_t files = 0;             // bytes of temporary files
  std::vector<MemoryPart> parts;  // of the peak, the largest first
};

/// What a job computes with.
struct Machine {
  /// Where rows of weights are while they are quantized: where the process has all else, or on a device.
  enum class Solves : uint8_t { in_its_memory, on_a_device };

  int threads = 1;
  std::optional<uint64_t>
      device_free{};  // bytes that a device with memory of its own has for states; none: there is none
  Solves solves = Solves::in_its_memory;
  int64_t weights_together = int64_t{1} << 24;  // Backend::weights_together()
};

/// Of a job whose states are kept so.
MemoryPlan estimate_memory(const Loader& loader, const ModulePlan& modules, const QuantOptions& options,
                           const CalibrationSize& calibration, StatePlaces::Place states,
                           StatePlaces::Place inputs, uint64_t sums, const Machine& machine);

/// The fastest way that keeps within options.memory_limit, or, where that is not possible, the one that takes least.
/// 0, no limit: states are in memory, and inputs if they take no more than 1 GB; Hessians of experts take up to 4.
/// States and inputs are on the device where it has room for them beside all else that a layer takes there.
MemoryPlan plan_memory(const Loader& loader, const ModulePlan& modules, const QuantOptions& options,
                       const CalibrationSize& calibration, const Machine& machine);

/// Status::invalid_argument naming the bytes that are needed, and what takes most of them, if the plan is over the limit.
void check_limit(const MemoryPlan& plan, uint64_t limit);

}  // namespace gptq
