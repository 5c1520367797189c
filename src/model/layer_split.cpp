#include "model/layer_split.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "model/decoder.h"

namespace gptq {
namespace {

constexpr uint64_t kHalf = 2;  // bytes of an element that is not quantized
/// Of free memory, what weights and caches may take: a tenth is left for scratch memory and what allocations lose.
constexpr double kUsedPart = 0.9;

uint64_t product(int64_t a, int64_t b) { return static_cast<uint64_t>(a) * static_cast<uint64_t>(b); }

/// A group has a scale and a zero point, 4 bytes.
uint64_t bytes_of(const Loader& loader, const StoredLinear& linear) {
  const uint64_t elements = product(linear.in_features, linear.out_features);
  if (!linear.quantized) return elements * kHalf;
  const QuantConfig& labels = loader.labels_of(linear.path);
  const int64_t group = labels.group_size > 0 ? labels.group_size : linear.in_features;
  return elements * static_cast<uint64_t>(labels.bits) / 8 +
         4 * elements / static_cast<uint64_t>(std::max<int64_t>(group, 1));
}

/// So many layers for each, the first ones one more where they don't come out even.
LayerSplit equal_split(int64_t layers, size_t devices) {
  const auto n = static_cast<int64_t>(devices);
  LayerSplit split(devices, layers / n);
  for (int64_t i = 0; i < layers % n; ++i) ++split[static_cast<size_t>(i)];
  return split;
}

/// Each layer to the device whose share its middle lies in. A share of 0 gets none.
LayerSplit shares_split(std::span<const uint64_t> bytes, std::span<const double> shares) {
  const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
  const auto total = static_cast<double>(std::accumulate(bytes.begin(), bytes.end(), uint64_t{0}));
  if (all <= 0 || total <= 0) return equal_split(static_cast<int64_t>(bytes.size()), shares.size());
  size_t last = shares.size() - 1;
  while (shares[last] <= 0) --last;
  LayerSplit split(shares.size());
  size_t device = 0;
  double end = shares[0] / all, before = 0;
  for (const uint64_t layer : bytes) {
    const double middle = (before + static_cast<double>(layer) / 2) / total;
    while (device < last && middle >= end) end += shares[++device] / all;
    ++split[device];
    before += static_cast<double>(layer);
  }
  return split;
}

/// Devices before `rest` are filled from the first layer on, those behind it from the last one back.
LayerSplit filled_split(std::span<const uint64_t> bytes, std::span<const double> room, size_t rest) {
  LayerSplit split(room.size());
  size_t first = 0, last = bytes.size();
  const auto fill = [&](size_t device, const auto& next, const auto& take) {
    double left = room[device];
    while (first < last && static_cast<double>(bytes[next()]) <= left) {
      left -= static_cast<double>(bytes[next()]);
      take();
      ++split[device];
    }
  };
  for (size_t d = 0; d < rest; ++d) {
    fill(
        d, [&] { return first; }, [&] { ++first; });
  }
  for (size_t d = room.size() - 1; d > rest; --d) {
    fill(
        d, [&] { return last - 1; }, [&] { --last; });
  }
  split[rest] = static_cast<int64_t>(last - first);
  return split;
}

}  // namespace

LayerSplit parse_layer_split(std::string_view text) {
  LayerSplit split;
  if (text.empty()) return split;
  for (size_t at = 0; at <= text.size();) {
    const std::string_view number = text.substr(at, text.find(',', at) - at);
    int64_t layers = -1;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), layers);
    if (error != std::errc() || end != number.data() + number.size() || layers < 0 || layers > INT32_MAX) {
      throw Error(Status::invalid_argument, cat("option 'layer_split' is ", quoted(text),
                                                ", wanted a number of layers for each device, such "
                                                "as 20,12"));
    }
    split.push_back(layers);
    at += number.size() + 1;
  }
  return split;
}

void check_devices(const LayerSplit& split, size_t devices) {
  if (split.empty() || (devices > 1 && split.size() == devices)) return;
  if (devices == 1) {
    throw Error(
        Status::invalid_argument,
        "option 'layer_split' is for several devices, but there is one: wanted a list such as cuda:0,cpu in "
        "option 'device'");
  }
  throw Error(Status::invalid_argument,
              cat("option 'layer_split' has ", split.size(), " numbers, but there are ", devices,
                  " devices: wanted one for each"));
}

void check_layers(const LayerSplit& split, size_t devices, int64_t layers) {
  if (split.empty()) {
    if (devices == 1 || static_cast<int64_t>(devices) <= layers) return;
    throw Error(Status::invalid_argument, cat(devices, " devices for a model of ", layers,
                                              " layers, wanted at most one for each layer"));
  }
  const int64_t sum = std::accumulate(split.begin(), split.end(), int64_t{0});
  if (sum == layers) return;
  throw Error(Status::invalid_argument,
              cat("option 'layer_split' adds up to ", sum, " layers, but the model has ", layers));
}

std::vector<uint64_t> planned_bytes(const Loader& loader, int64_t positions) {
  const Spec& spec = loader.spec();
  std::vector<uint64_t> bytes;
  for (int64_t i = 0; i < spec.layers; ++i) {
    const CacheLayer kept = Decoder::cache_layer(spec, i);
    uint64_t layer = product(kept.kv_heads * (kept.key_dim + kept.value_dim), positions) * kHalf +
                     2 * sizeof(float) * static_cast<uint64_t>(kept.state);  // the state, and its copy
    for (const StoredLinear& linear : loader.modules(i)) layer += bytes_of(loader, linear);
    bytes.push_back(layer);
  }
  bytes.front() += product(spec.vocab, spec.embed_dim) * kHalf;
  if (spec.traits.positions == Positions::learned)
    bytes.front() += product(spec.context, spec.hidden) * kHalf;
  bytes.back() +=
      loader.tied() ? product(spec.vocab, spec.embed_dim) * kHalf : bytes_of(loader, loader.head());
  return bytes;
}

LayerSplit plan_split(std::span<const uint64_t> bytes, std::span<const std::optional<uint64_t>> room) {
  std::vector<double> usable;  // 0 where it is not known
  for (const auto& device : room) usable.push_back(kUsedPart * static_cast<double>(device.value_or(0)));
  const auto rest = std::find(room.begin(), room.end(), std::nullopt);
  const bool told =
      std::any_of(room.begin(), room.end(), [](const auto& device) { return device.has_value(); });
  const double all = std::accumulate(usable.begin(), usable.end(), 0.0);
  const auto total = static_cast<double>(std::accumulate(bytes.begin(), bytes.end(), uint64_t{0}));
  if (rest != room.end() && told && all < total)
    return filled_split(bytes, usable, static_cast<size_t>(rest - room.begin()));
  return shares_split(bytes, usable);
}

LayerSplit split_layers(const LayerSplit& given, const Loader& loader,
                        std::span<const std::shared_ptr<const Backend>> backends, int64_t positions) {
  const int64_t layers = loader.spec().layers;
  check_layers(given, backends.size(), layers);
  if (!given.empty()) return given;
  if (backends.size() == 1) return {layers};
  const auto workspace = Decoder::workspace_bytes(loader.spec(), Decoder::kMaxRows, kHalf);
  std::vector<std::optional<uint64_t>> room;
  for (const auto& backend : backends) {
    std::optional<uint64_t> free = backend->free_memory();
    if (free) *free -= std::min(*free, workspace);
    room.push_back(free);
  }
  return plan_split(planned_bytes(loader, positions), room);
}

Segments make_segments(const LayerSplit& split, std::span<const std::shared_ptr<const Backend>> backends) {
  Segments segments;
  int64_t first = 0;
  for (size_t i = 0; i < backends.size(); ++i) {
    if (split[i] > 0) segments.push_back({.backend = backends[i], .layers = {first, split[i]}});
    first += split[i];
  }
  return segments;
}

}  // namespace gptq
