#include "model/layer_split.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "model/batch_rows.h"
#include "model/decoder.h"

namespace gptq {
namespace {

constexpr uint64_t kHalf = 2;  // bytes of an element that is not quantized
/// Of free memory, what weights and caches may take: a tenth is left for scratch memory and what allocations lose.
constexpr double kUsedPart = 0.9;
/// What the driver and its libraries take of a GPU beside that: cuBLAS alone has 32 MiB to work in.
constexpr uint64_t kLibraryBytes = uint64_t{128} << 20;

uint64_t product(int64_t a, int64_t b) { return static_cast<uint64_t>(a) * static_cast<uint64_t>(b); }

/// A group has a scale and a zero point, 4 bytes.
uint64_t quantized_bytes(uint64_t elements, int bits, int64_t group) {
  return elements * static_cast<uint64_t>(bits) / 8 +
         4 * elements / static_cast<uint64_t>(std::max<int64_t>(group, 1));
}

uint64_t bytes_of(const Loader& loader, const StoredLinear& linear) {
  const uint64_t elements = product(linear.in_features, linear.out_features);
  if (!linear.quantized) return elements * kHalf;
  const QuantConfig& labels = loader.labels_of(linear.path);
  return quantized_bytes(elements, labels.bits,
                         labels.group_size > 0 ? labels.group_size : linear.in_features);
}

uint64_t sum(std::span<const uint64_t> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0});
}

/// The first layer with what comes before it, the last with what comes behind it.
std::vector<uint64_t> with_ends(const PlannedBytes& bytes) {
  std::vector<uint64_t> all = bytes.layers;
  all.front() += bytes.before;
  all.back() += bytes.behind;
  return all;
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
  const auto total = static_cast<double>(sum(bytes));
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

/// Devices are filled in their order to the least part of their room that has all layers in it. Nothing where the whole of
/// it has not.
std::optional<LayerSplit> packed_split(std::span<const uint64_t> bytes, std::span<const double> room) {
  constexpr int kHalvings = 40;
  const auto pack = [&](double part) -> std::optional<LayerSplit> {
    std::vector<double> parts;
    for (const double device : room) parts.push_back(part * device);
    LayerSplit split(room.size());
    size_t device = 0;
    for (const uint64_t layer : bytes) {
      const auto size = static_cast<double>(layer);
      while (device < parts.size() && parts[device] < size) ++device;
      if (device == parts.size()) return std::nullopt;
      parts[device] -= size;
      ++split[device];
    }
    return split;
  };
  std::optional<LayerSplit> best = pack(1);
  double low = 0, high = 1;
  for (int i = 0; best && i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    std::optional<LayerSplit> split = pack(middle);
    (split ? high : low) = middle;
    if (split) best = std::move(split);
  }
  return best;
}

/// Says which devices were left out, and why.
void warn_of_idle(const LayerSplit& split, const PlannedBytes& bytes, std::span<const ListedDevice> devices,
                  std::span<const std::optional<uint64_t>> free) {
  for (size_t i = 0; i < split.size(); ++i) {
    if (split[i] > 0 || !free[i]) continue;
    log(LogLevel::warning,
        cat("device '", devices[i].name, "' gets no layers: ", *free[i],
            " bytes are free there, the model takes ", bytes.whole(), ", up to ",
            *std::max_element(bytes.layers.begin(), bytes.layers.end()), " for a layer and ",
            bytes.before + bytes.behind, " for embedding and output head"));
  }
}

}  // namespace

LayerSplit parse_layer_split(std::string_view text) {
  LayerSplit split;
  if (text.empty()) return split;
  for (size_t at = 0; at <= text.size();) {
    const std::string_view number = text.substr(at, text.find(',', at) - at);
    uint64_t layers = 0;  // which has no sign, not even -0
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), layers);
    if (error != std::errc() || end != number.data() + number.size() || layers > INT32_MAX) {
      throw Error(Status::invalid_argument, cat("option 'layer_split' is ", quoted(text),
                                                ", wanted a number of layers for each device, such "
                                                "as 20,12"));
    }
    split.push_back(static_cast<int64_t>(layers));
    at += number.size() + 1;
  }
  return split;
}

void check_devices(const LayerSplit& split, size_t devices) {
  if (split.empty() || split.size() == devices) return;
  throw Error(Status::invalid_argument,
              cat("option 'layer_split' has ", split.size(), split.size() == 1 ? " number" : " numbers",
                  ", but there ", devices == 1 ? "is one device" : cat("are ", devices, " devices"),
                  ": wanted one for each"));
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

uint64_t PlannedBytes::whole() const { return sum(layers) + before + behind - shared; }

PlannedBytes planned_bytes(const Loader& loader, const PlannedLoad& load) {
  const Spec& spec = loader.spec();
  PlannedBytes bytes;
  for (int64_t i = 0; i < spec.layers; ++i) {
    const CacheLayer kept = Decoder::cache_layer(spec, i);
    uint64_t layer = product(kept.kv_heads * (kept.key_dim + kept.value_dim), load.positions) * kHalf +
                     2 * sizeof(float) * static_cast<uint64_t>(kept.state);  // the state, and its copy
    for (const StoredLinear& linear : loader.modules(i)) layer += bytes_of(loader, linear);
    bytes.layers.push_back(layer);
  }
  const uint64_t table = product(spec.vocab, spec.embed_dim);
  bytes.before = table * kHalf;
  if (spec.traits.positions == Positions::learned) bytes.before += product(spec.context, spec.hidden) * kHalf;
  if (load.head_bits != 0 && (loader.tied() || !loader.head().quantized)) {
    bytes.behind = quantized_bytes(table, load.head_bits, Loader::kRoundedGroup);
  } else if (loader.tied()) {
    bytes.behind = bytes.shared = table * kHalf;
  } else {
    bytes.behind = bytes_of(loader, loader.head());
  }
  return bytes;
}

std::vector<uint64_t> bytes_of_split(const PlannedBytes& bytes, const LayerSplit& split) {
  const std::vector<uint64_t> all = with_ends(bytes);
  const std::span<const uint64_t> layers = all;
  std::vector<uint64_t> sums;
  size_t first = 0;
  for (const int64_t device : split) {
    const auto count = static_cast<size_t>(device);
    sums.push_back(count == layers.size() ? bytes.whole() : sum(layers.subspan(first, count)));
    first += count;
  }
  return sums;
}

LayerSplit plan_split(const PlannedBytes& bytes, std::span<const std::optional<uint64_t>> room) {
  std::vector<double> usable;  // 0 where it is not known
  for (const auto& device : room) usable.push_back(kUsedPart * static_cast<double>(device.value_or(0)));
  const std::vector<uint64_t> layers = with_ends(bytes);
  LayerSplit shares = shares_split(layers, usable);
  const std::vector<uint64_t> wanted = bytes_of_split(bytes, shares);
  bool fits = true;
  for (size_t i = 0; i < room.size(); ++i)
    fits = fits && (!room[i] || static_cast<double>(wanted[i]) <= usable[i]);
  if (fits) return shares;
  const auto holds_all = std::find_if(usable.begin(), usable.end(), [&](double device) {
    return static_cast<double>(bytes.whole()) <= device;
  });
  if (holds_all != usable.end()) {
    LayerSplit split(room.size());
    split[static_cast<size_t>(holds_all - usable.begin())] = static_cast<int64_t>(layers.size());
    return split;
  }
  const auto rest = std::find(room.begin(), room.end(), std::nullopt);
  if (rest != room.end()) return filled_split(layers, usable, static_cast<size_t>(rest - room.begin()));
  return packed_split(layers, usable).value_or(std::move(shares));
}

LayerSplit split_layers(const LayerSplit& given, const Loader& loader, std::span<const ListedDevice> devices,
                        const PlannedLoad& load) {
  const Spec& spec = loader.spec();
  check_layers(given, devices.size(), spec.layers);
  if (!given.empty()) return given;
  if (devices.size() == 1) return {spec.layers};
  const uint64_t logits = std::max<uint64_t>(Decoder::kLogitsBytes, product(spec.vocab, 1) * kHalf);
  std::vector<std::optional<uint64_t>> free, room;
  for (size_t i = 0; i < devices.size(); ++i) {
    const std::optional<uint64_t> told = devices[i].backend->free_memory();
    const bool again =
        std::any_of(devices.begin(), devices.begin() + static_cast<ptrdiff_t>(i),
                    [&](const ListedDevice& before) { return before.backend == devices[i].backend; });
    free.push_back(again ? std::nullopt : told);
    room.push_back(told);
    if (!told) continue;
    const int64_t rows = session_rows(spec, *devices[i].backend);
    const uint64_t beside = Decoder::workspace_bytes(spec, rows, kHalf) + logits + kLibraryBytes;
    room.back() = again ? 0 : *told - std::min(*told, beside);
  }
  const PlannedBytes bytes = planned_bytes(loader, load);
  LayerSplit split = plan_split(bytes, room);
  warn_of_idle(split, bytes, devices, free);
  return split;
}

LayerSegments make_segments(const LayerSplit& split, std::span<const ListedDevice> devices) {
  LayerSegments segments;
  int64_t first = 0;
  for (size_t i = 0; i < devices.size(); ++i) {
    if (split[i] > 0) {
      segments.push_back(
          {.backend = devices[i].backend, .layers = {first, split[i]}, .device = devices[i].name});
    }
    first += split[i];
  }
  return segments;
}

}  // namespace gptq
