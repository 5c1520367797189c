// Which device gets which layers.
#include "model/layer_split.h"

#include <gtest/gtest.h>

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
  for (const char* text : {"20,", ",20", "20,x", "20;12", "-1,3", "20, 12", "1e3,2", "99999999999,1", ","}) {
    const std::string said = refusal([&] { static_cast<void>(parse_layer_split(text)); });
    EXPECT_TRUE(has(said, "option 'layer_split'") && has(said, text)) << said;
  }
}

TEST(LayerSplit, IsCheckedBeforeAnythingIsOpened) {
  check_devices({}, 1);
  check_devices({}, 3);
  check_devices({1, 2, 3}, 3);
  EXPECT_TRUE(has(refusal([] { check_devices({32}, 1); }), "but there is one"));
  EXPECT_TRUE(has(refusal([] { check_devices({1, 2}, 1); }), "but there is one"));
  EXPECT_TRUE(has(refusal([] { check_devices({1, 2}, 3); }), "has 2 numbers, but there are 3 devices"));
  check_layers({}, 1, 2);
  check_layers({}, 2, 2);
  check_layers({0, 1, 1}, 3, 2);
  EXPECT_TRUE(has(refusal([] { check_layers({}, 3, 2); }), "3 devices for a model of 2 layers"));
  EXPECT_TRUE(has(refusal([] {
                    check_layers({20, 11}, 2, 32);
                  }),
                  "adds up to 31 layers, but the model has 32"));
}

TEST(LayerSplit, IsEvenWhereNobodyCanTell) {
  const std::vector<uint64_t> bytes(7, 100);
  EXPECT_EQ(plan_split(bytes, Room{kUnknown, kUnknown}), (LayerSplit{4, 3}));
  EXPECT_EQ(plan_split(bytes, Room{kUnknown, kUnknown, kUnknown}), (LayerSplit{3, 2, 2}));
}

TEST(LayerSplit, IsInProportionToFreeMemory) {
  const std::vector<uint64_t> bytes(32, 100);
  EXPECT_EQ(plan_split(bytes, Room{8000, 8000}), (LayerSplit{16, 16}));
  EXPECT_EQ(plan_split(bytes, Room{24000, 8000}), (LayerSplit{24, 8}));
  EXPECT_EQ(plan_split(bytes, Room{24000, 0, 8000}), (LayerSplit{24, 0, 8}));
  EXPECT_EQ(plan_split(bytes, Room{UINT64_MAX, UINT64_MAX}), (LayerSplit{16, 16}));
  EXPECT_EQ(plan_split(bytes, Room{10, 10}), (LayerSplit{16, 16}));  // they will say what they lack
  EXPECT_EQ(plan_split(bytes, Room{0, 0}), (LayerSplit{16, 16}));
  std::vector<uint64_t> ends(32, 100);
  ends.front() += 800;  // an embedding
  EXPECT_EQ(plan_split(ends, Room{8000, 8000}), (LayerSplit{12, 20}));
}

TEST(LayerSplit, LeavesToTheCpuWhatGpusHaveNoRoomFor) {
  const std::vector<uint64_t> bytes(32, 100);
  EXPECT_EQ(plan_split(bytes, Room{4000, kUnknown}), (LayerSplit{32, 0}));
  EXPECT_EQ(plan_split(bytes, Room{2000, kUnknown}), (LayerSplit{18, 14}));  // nine tenths of 2000
  EXPECT_EQ(plan_split(bytes, Room{kUnknown, 2000}), (LayerSplit{14, 18}));
  EXPECT_EQ(plan_split(bytes, Room{1000, 2000, kUnknown}), (LayerSplit{9, 18, 5}));
  EXPECT_EQ(plan_split(bytes, Room{1000, kUnknown, 2000}), (LayerSplit{9, 5, 18}));
  EXPECT_EQ(plan_split(bytes, Room{1000, kUnknown, kUnknown}), (LayerSplit{9, 23, 0}));
  EXPECT_EQ(plan_split(bytes, Room{3000, 3000, kUnknown}), (LayerSplit{16, 16, 0}));
  EXPECT_EQ(plan_split(bytes, Room{0, kUnknown}), (LayerSplit{0, 32}));
  std::vector<uint64_t> ends(32, 100);
  ends.front() += 5000;  // an embedding that no GPU holds
  EXPECT_EQ(plan_split(ends, Room{2000, kUnknown}), (LayerSplit{0, 32}));
  EXPECT_EQ(plan_split(ends, Room{kUnknown, 2000}), (LayerSplit{14, 18}));
}

/// Weights as files have them, plus what the ends carry.
TEST(LayerSplit, PlansWithWhatAModelTakes) {
  const Loader loader(source_dir() / "samples/model");
  const Spec& spec = loader.spec();
  const auto bytes = planned_bytes(loader, 0), longer = planned_bytes(loader, 100);
  ASSERT_EQ(static_cast<int64_t>(bytes.size()), spec.layers);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    uint64_t weights = 0;
    for (const StoredLinear& linear : loader.modules(index))
      weights += 2 * static_cast<uint64_t>(linear.in_features * linear.out_features);
    const auto table = 2 * static_cast<uint64_t>(spec.vocab * spec.hidden);
    EXPECT_EQ(bytes[i], weights + (i == 0 || i + 1 == bytes.size() ? table : 0));
    EXPECT_EQ(longer[i] - bytes[i], static_cast<uint64_t>(100 * 2 * 2 * spec.kv_heads * spec.head_dim));
  }
}

TEST(LayerSplit, SegmentsHaveLayers) {
  const std::vector<std::shared_ptr<const Backend>> backends = create_backends("cpu,cpu,cpu", {.threads = 1});
  const Segments segments = make_segments({2, 0, 3}, backends);
  ASSERT_EQ(segments.size(), 2u);
  EXPECT_EQ(segments[0].backend, backends[0]);
  EXPECT_EQ(segments[0].layers.end(), 2);
  EXPECT_EQ(segments[1].backend, backends[2]);
  EXPECT_EQ(segments[1].layers.first, 2);
  EXPECT_EQ(segments[1].layers.end(), 5);
}

}  // namespace
}  // namespace gptq::test
