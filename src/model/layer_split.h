// How many layers each of several devices gets.
//
// Devices that can tell what memory they have free hold as much of the model as they have room for, each in proportion to
// that; what they don't hold goes to the first that can't tell, as the CPU, so that GPUs before it are filled from the first
// layer on, those behind it from the last one back. Where none can tell, all get as many.
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

/// Refuses a split, unless it is empty, for another number of devices; and any for one device, which has all layers.
void check_devices(const LayerSplit& split, size_t devices);
/// Refuses one that does not add up to the model's layers; and an empty one where there are more devices than those.
void check_layers(const LayerSplit& split, size_t devices, int64_t layers);

/// What each layer of a model takes in a GPU's memory, about: 16 bits for weights that are not quantized, and the keys and
/// values of so many positions. The first has the embedding with it, the last the output head.
std::vector<uint64_t> planned_bytes(const Loader& loader, int64_t positions);

/// `bytes` as planned_bytes(); `room` of each device, none where it can't tell.
LayerSplit plan_split(std::span<const uint64_t> bytes, std::span<const std::optional<uint64_t>> room);

/// That of the options, or where it is empty one that is planned for the backends' free memory.
LayerSplit split_layers(const LayerSplit& given, const Loader& loader,
                        std::span<const std::shared_ptr<const Backend>> backends, int64_t positions);

/// Without those that have no layers. As many numbers as backends.
Segments make_segments(const LayerSplit& split, std::span<const std::shared_ptr<const Backend>> backends);

}  // namespace gptq
