// How many layers each of several devices gets.
//
// Devices that can tell what memory they have free hold as much of the model as they have room for, each in proportion to
// that; what they don't hold goes to the first that can't tell, as the CPU, so that GPUs before it are filled from the first
// layer on, those behind it from the last one back. Where all can tell, and proportions are too much for one, layers fill as
// equal a part of each as they can. Where none can tell, all get as many. A device that is listed twice has its room where
// it comes first.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "model/loader.h"
#include "model/segment.h"

namespace gptq {

/// Layers of each device, in the order of the list.
using LayerSplit = std::vector<int64_t>;

/// "20,12". Status::invalid_argument for what is no list of numbers; no text is an empty split, for plan_split() to make.
LayerSplit parse_layer_split(std::string_view text);

/// Refuses a split, unless it is empty, for another number of devices.
void check_devices(const LayerSplit& split, size_t devices);
/// Refuses one that does not add up to the model's layers; and an empty one where there are more devices than those.
void check_layers(const LayerSplit& split, size_t devices, int64_t layers);

/// What a model takes in a GPU's memory, about: 16 bits for weights that are not quantized.
struct PlannedBytes {
  std::vector<uint64_t> layers;  // each with the keys and values of so many positions
  uint64_t before = 0;           // the embedding, on the first device that has layers
  uint64_t behind = 0;           // the output head, on the last
  uint64_t shared = 0;           // of both, what one device that has all layers holds once

  uint64_t whole() const;  // on one device
};

/// What a load is to make, as far as it takes memory.
struct PlannedLoad {
  int64_t positions = 0;
  int head_bits = 0;  // as Loader::load_outer() has them
};

PlannedBytes planned_bytes(const Loader& loader, const PlannedLoad& load);

/// Of each device of a split.
std::vector<uint64_t> bytes_of_split(const PlannedBytes& bytes, const LayerSplit& split);

/// `room` of each device, none where it can't tell. None of them gets more than it has room for if there is one that can't
/// tell, or any split that does so.
LayerSplit plan_split(const PlannedBytes& bytes, std::span<const std::optional<uint64_t>> room);

/// That of the options, or where it is empty one that is planned for the devices' free memory.
LayerSplit split_layers(const LayerSplit& given, const Loader& loader, std::span<const ListedDevice> devices,
                        const PlannedLoad& load);

/// Without those that have no layers. As many numbers as devices.
LayerSegments make_segments(const LayerSplit& split, std::span<const ListedDevice> devices);

}  // namespace gptq
