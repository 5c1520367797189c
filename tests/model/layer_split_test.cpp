// Which device gets which layers.
#include "model/layer_split.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>
#include <string>

#include "base/error.h"
#include "support/test_data.h"

namespace gptq::test {
namespace {

using Room = std::vector<std::optional<uint64_t>>;
constexpr auto kUnknown = std::nullopt;

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    return error.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(LayerSplit, OfText) {
  EXPECT_EQ(parse_layer_split(""), LayerSplit());
  EXPECT_EQ(parse_layer_split("20,0,12"), (LayerSplit{20, 0, 12}));
  for (const char* text :
       {"20,", ",20", "20,x", "20;12", "-1,3", "20, 12", "1e3,2", "99999999999,1", ",", "-0,4", "+1,3"}) {
    const std::string said = refusal([&] { static_cast<void>(parse_layer_split(text)); });
    EXPECT_TRUE(has(said, "option 'layer_split'") && has(said, text)) << said;
  }
}

TEST(LayerSplit, IsCheckedBeforeAnythingIsOpened) {
  check_devices({}, 1);
  check_devices({}, 3);
  check_devices({1, 2, 3}, 3);
  check_devices({32}, 1);
  EXPECT_TRUE(has(refusal([] { check_devices({1, 2}, 1); }), "has 2 numbers, but there is one device"));
  EXPECT_TRUE(has(refusal([] { check_devices({4}, 2); }), "has 1 number, but there are 2 devices"));
  EXPECT_TRUE(has(refusal([] { check_devices({1, 2}, 3); }), "has 2 numbers, but there are 3 devices"));
  check_layers({}, 1, 2);
  check_layers({}, 2, 2);
  check_layers({2}, 1, 2);
  check_layers({0, 1, 1}, 3, 2);
  EXPECT_TRUE(has(refusal([] { check_layers({}, 3, 2); }), "3 devices for a model of 2 layers"));
  EXPECT_TRUE(has(refusal([] {
                    check_layers({20, 11}, 2, 32);
                  }),
                  "adds up to 31 layers, but the model has 32"));
}

/// So many layers alike.
PlannedBytes plain(size_t layers, uint64_t bytes = 100) {
  return {.layers = std::vector<uint64_t>(layers, bytes)};
}

TEST(LayerSplit, IsEvenWhereNobodyCanTell) {
  const PlannedBytes bytes = plain(7);
  EXPECT_EQ(plan_split(bytes, Room{kUnknown, kUnknown}), (LayerSplit{4, 3}));
  EXPECT_EQ(plan_split(bytes, Room{kUnknown, kUnknown, kUnknown}), (LayerSplit{3, 2, 2}));
}

TEST(LayerSplit, IsInProportionToFreeMemory) {
  const PlannedBytes bytes = plain(32);
  EXPECT_EQ(plan_split(bytes, Room{8000, 8000}), (LayerSplit{16, 16}));
  EXPECT_EQ(plan_split(bytes, Room{24000, 8000}), (LayerSplit{24, 8}));
  EXPECT_EQ(plan_split(bytes, Room{24000, 0, 8000}), (LayerSplit{24, 0, 8}));
  EXPECT_EQ(plan_split(bytes, Room{UINT64_MAX, UINT64_MAX}), (LayerSplit{16, 16}));
  EXPECT_EQ(plan_split(bytes, Room{10, 10}), (LayerSplit{16, 16}));  // they will say what they lack
  EXPECT_EQ(plan_split(bytes, Room{0, 0}), (LayerSplit{16, 16}));
  PlannedBytes ends = plain(32);
  ends.before = 800;
  EXPECT_EQ(plan_split(ends, Room{8000, 8000}), (LayerSplit{12, 20}));
}

TEST(LayerSplit, LeavesToTheCpuWhatGpusHaveNoRoomFor) {
  const PlannedBytes bytes = plain(32);
  EXPECT_EQ(plan_split(bytes, Room{4000, kUnknown}), (LayerSplit{32, 0}));
  EXPECT_EQ(plan_split(bytes, Room{2000, kUnknown}), (LayerSplit{18, 14}));  // nine tenths of 2000
  EXPECT_EQ(plan_split(bytes, Room{kUnknown, 2000}), (LayerSplit{14, 18}));
  EXPECT_EQ(plan_split(bytes, Room{1000, 2000, kUnknown}), (LayerSplit{9, 18, 5}));
  EXPECT_EQ(plan_split(bytes, Room{1000, kUnknown, 2000}), (LayerSplit{9, 5, 18}));
  EXPECT_EQ(plan_split(bytes, Room{1000, kUnknown, kUnknown}), (LayerSplit{9, 23, 0}));
  EXPECT_EQ(plan_split(bytes, Room{3000, 3000, kUnknown}), (LayerSplit{16, 16, 0}));
  EXPECT_EQ(plan_split(bytes, Room{0, kUnknown}), (LayerSplit{0, 32}));
  PlannedBytes ends = plain(32);
  ends.before = 5000;  // no GPU holds it
  EXPECT_EQ(plan_split(ends, Room{2000, kUnknown}), (LayerSplit{0, 32}));
  EXPECT_EQ(plan_split(ends, Room{kUnknown, 2000}), (LayerSplit{14, 18}));
}

/// Proportions are for sums; what one device has room for is another matter.
TEST(LayerSplit, LooksAtEachDevice) {
  PlannedBytes ends = plain(32, 125);
  ends.before = ends.behind = 1050;
  EXPECT_EQ(plan_split(ends, Room{6200, 1000, kUnknown}), (LayerSplit{31, 0, 1}));
  EXPECT_EQ(plan_split(ends, Room{1000, 6200, kUnknown}), (LayerSplit{0, 31, 1}));
  EXPECT_EQ(plan_split(ends, Room{6200, 1400}), (LayerSplit{31, 1}));
  EXPECT_EQ(plan_split(ends, Room{1400, 6200}), (LayerSplit{1, 31}));
  // room for both, but not in proportion
  EXPECT_EQ(plan_split(PlannedBytes{.layers = {100, 100, 100, 300}}, Room{120, 700}), (LayerSplit{1, 3}));
}

/// A table that is tied is one on one device.
TEST(LayerSplit, CountsATiedTableOnceOnOneDevice) {
  PlannedBytes tied = plain(10);
  tied.before = tied.behind = tied.shared = 500;
  EXPECT_EQ(tied.whole(), 1500u);
  EXPECT_EQ(bytes_of_split(tied, {10, 0}), (std::vector<uint64_t>{1500, 0}));
  EXPECT_EQ(bytes_of_split(tied, {4, 0, 6}), (std::vector<uint64_t>{900, 0, 1100}));
  EXPECT_EQ(plan_split(tied, Room{1700, kUnknown}), (LayerSplit{10, 0}));
  EXPECT_EQ(plan_split(tied, Room{kUnknown, 1700}), (LayerSplit{0, 10}));
  EXPECT_EQ(plan_split(tied, Room{200, 1700, kUnknown}), (LayerSplit{0, 10, 0}));
  EXPECT_EQ(plan_split(tied, Room{200, 1700}), (LayerSplit{0, 10}));
  EXPECT_EQ(plan_split(tied, Room{1600, kUnknown}), (LayerSplit{9, 1}));
}

/// All ways to deal `layers` out.
void each_split(int64_t layers, size_t devices, LayerSplit& so_far,
                const std::function<void(const LayerSplit&)>& call) {
  if (devices == 1) {
    so_far.push_back(layers);
    call(so_far);
    so_far.pop_back();
    return;
  }
  for (int64_t n = 0; n <= layers; ++n) {
    so_far.push_back(n);
    each_split(layers - n, devices - 1, so_far, call);
    so_far.pop_back();
  }
}

bool holds(const PlannedBytes& bytes, const LayerSplit& split, const Room& room, double part) {
  const std::vector<uint64_t> wanted = bytes_of_split(bytes, split);
  for (size_t i = 0; i < room.size(); ++i) {
    if (room[i] && static_cast<double>(wanted[i]) > part * static_cast<double>(*room[i])) return false;
  }
  return true;
}

/// No device has more than its room where the list has one that can't tell, or where any split does that with nine tenths of
/// each; and one that can't tell has nothing where one of the others has room for all.
TEST(LayerSplit, NoDeviceGetsMoreThanItHasRoomFor) {
  std::mt19937 random(7);
  const auto below = [&](uint64_t n) { return random() % n; };
  int tight = 0;
  for (int round = 0; round < 20000; ++round) {
    PlannedBytes bytes;
    for (uint64_t i = 0, n = 1 + below(8); i < n; ++i) bytes.layers.push_back(50 + below(100));
    bytes.before = below(600);
    bytes.behind = below(2) == 0 ? bytes.before : below(600);
    if (bytes.behind == bytes.before) bytes.shared = bytes.before;
    Room room;
    for (uint64_t i = 0, n = 1 + below(4); i < n; ++i)
      room.push_back(below(4) == 0 ? std::nullopt : std::optional(below(3) == 0 ? 0 : below(1500)));
    const LayerSplit split = plan_split(bytes, room);
    const auto layers = static_cast<int64_t>(bytes.layers.size());
    ASSERT_EQ(std::accumulate(split.begin(), split.end(), int64_t{0}), layers);
    const bool rest = std::find(room.begin(), room.end(), std::nullopt) != room.end();
    bool can = rest;
    if (!rest) {
      LayerSplit one;
      each_split(layers, room.size(), one,
                 [&](const LayerSplit& other) { can = can || holds(bytes, other, room, 0.9); });
      tight += can ? 1 : 0;
    }
    if (can) {
      ASSERT_TRUE(holds(bytes, split, room, 1)) << testing::PrintToString(split) << " of " << round;
    }
    for (size_t i = 0; i < room.size(); ++i) {
      if (!room[i] || static_cast<double>(bytes.whole()) > 0.9 * static_cast<double>(*room[i])) continue;
      for (size_t j = 0; j < room.size(); ++j) {
        if (!room[j]) {
          EXPECT_EQ(split[j], 0) << round;
        }
      }
    }
  }
  EXPECT_GT(tight, 1000);
}

/// Weights as files have them, plus what the ends carry.
TEST(LayerSplit, PlansWithWhatAModelTakes) {
  const Loader loader(source_dir() / "samples/model");
  const Spec& spec = loader.spec();
  const PlannedBytes bytes = planned_bytes(loader, {}), longer = planned_bytes(loader, {.positions = 100});
  ASSERT_EQ(static_cast<int64_t>(bytes.layers.size()), spec.layers);
  for (size_t i = 0; i < bytes.layers.size(); ++i) {
    uint64_t weights = 0;
    for (const StoredLinear& linear : loader.modules(static_cast<int64_t>(i)))
      weights += 2 * static_cast<uint64_t>(linear.in_features * linear.out_features);
    EXPECT_EQ(bytes.layers[i], weights);
    EXPECT_EQ(longer.layers[i] - weights, static_cast<uint64_t>(100 * 2 * 2 * spec.kv_heads * spec.head_dim));
  }
  const auto elements = static_cast<uint64_t>(spec.vocab * spec.hidden);
  EXPECT_EQ(bytes.before, 2 * elements);
  EXPECT_EQ(bytes.behind, 2 * elements);
  EXPECT_EQ(bytes.shared, loader.tied() ? 2 * elements : 0);
  // in groups of 128, 4 bytes each; the embedding stays as it is
  const PlannedBytes rounded = planned_bytes(loader, {.head_bits = 4});
  EXPECT_EQ(rounded.before, 2 * elements);
  EXPECT_EQ(rounded.behind, elements / 2 + elements / 32);
  EXPECT_EQ(rounded.shared, 0u);
}

TEST(LayerSplit, OfATiedModel) {
  const Loader loader(source_dir() / "tests/golden/models/llama-bias-tied");
  ASSERT_TRUE(loader.tied());
  const PlannedBytes bytes = planned_bytes(loader, {});
  const auto table = 2 * static_cast<uint64_t>(loader.spec().vocab * loader.spec().hidden);
  EXPECT_EQ(bytes.before, table);
  EXPECT_EQ(bytes.behind, table);
  EXPECT_EQ(bytes.shared, table);
}

TEST(LayerSplit, SegmentsHaveLayers) {
  const std::vector<ListedDevice> devices = create_backends("cpu,cpu,cpu", {.threads = 1});
  const LayerSegments segments = make_segments({2, 0, 3}, devices);
  ASSERT_EQ(segments.size(), 2u);
  EXPECT_EQ(segments[0].backend, devices[0].backend);
  EXPECT_EQ(segments[0].device, "cpu");
  EXPECT_EQ(devices[0].backend, devices[2].backend);  // one device
  EXPECT_EQ(segments[0].layers.end(), 2);
  EXPECT_EQ(segments[1].backend, devices[2].backend);
  EXPECT_EQ(segments[1].layers.first, 2);
  EXPECT_EQ(segments[1].layers.end(), 5);
}

}  // namespace
}  // namespace gptq::test
