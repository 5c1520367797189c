// Every family and variant against logits and greedy continuations computed by transformers.
#include <algorithm>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "session/model.h"
#include "support/families.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

class FamilyTest : public testing::TestWithParam<std::string> {};

TEST_P(FamilyTest, EqualsTransformers) {
  GPTQ_EXTRA_DATA(folder, GetParam());
  expect_reference(folder);
}

/// The same logits whatever the tokens come in: pieces, a batch of several sequences, a cache that was cut back.
TEST_P(FamilyTest, ComesToTheSameInPiecesAndBatches) {
  GPTQ_EXTRA_DATA(folder, GetParam());
  const auto model = load_model(folder);
  const std::vector<int32_t> ids = read_reference(folder).input_ids[0];
  const Spec& spec = model->spec();
  const auto vocab = static_cast<size_t>(spec.vocab);
  const std::vector<float> whole = causal_logits(model, ids, static_cast<int64_t>(ids.size()));
  // these rotate by the length of all that is given at once
  const bool by_length = std::any_of(spec.ropes.begin(), spec.ropes.end(), [](const RopeSpec& rope) {
    return rope.kind == RopeKind::dynamic || rope.kind == RopeKind::longrope;
  });
  for (int64_t piece : {1, 3, 16}) {
    if (by_length) continue;
    EXPECT_LE(relative_difference(causal_logits(model, ids, piece), whole), 2e-4) << piece;
  }

  const Backend& backend = *model->segments().front().backend;
  const auto stream = backend.create_stream(nullptr);
  Decoder decoder(spec, backend, *stream, 64);
  const auto cache = backend.create_cache(decoder.cache_shape(3));
  std::vector<int64_t> lengths{static_cast<int64_t>(ids.size()), 5, 11};
  using From = std::vector<std::pair<int32_t, int64_t>>;  // sequences, each from a position
  const auto run = [&](const From& from, int64_t unread = 0) {
    std::vector<int32_t> tokens;
    std::vector<Row> rows;
    std::vector<int64_t> row_lengths;
    for (const auto& [sequence, begin] : from) {
      const int64_t length = lengths[static_cast<size_t>(sequence)];
      cache->reserve(sequence, length);
      for (int64_t i = begin; i < length; ++i) {
        tokens.push_back(ids[static_cast<size_t>(i)]);
        rows.push_back({.sequence = sequence, .position = static_cast<int32_t>(i)});
        row_lengths.push_back(length);
      }
    }
    decoder.forward(model->weights(),
                    {.tokens = tokens, .rows = rows, .lengths = row_lengths, .unread = unread}, *cache);
    const int64_t read = static_cast<int64_t>(rows.size()) - unread;
    std::vector<float> logits(static_cast<size_t>(read) * vocab);
    decoder.logits(model->weights(), unread, read, logits.data());
    return logits;
  };
  std::vector<float> wanted;
  for (int32_t s : {1, 0, 2}) {
    const std::vector<int32_t> own(ids.begin(), ids.begin() + lengths[static_cast<size_t>(s)]);
    const auto logits = causal_logits(model, own, lengths[static_cast<size_t>(s)]);
    wanted.insert(wanted.end(), logits.begin(), logits.end());
  }
  EXPECT_LE(relative_difference(run({{1, 0}, {0, 0}, {2, 0}}), wanted), 2e-4);
  const int64_t left = cache->truncate(0, lengths[0] - 5);
  EXPECT_LE(left, lengths[0] - 5);
  const std::vector<float> last(whole.begin() + static_cast<ptrdiff_t>(left) * static_cast<ptrdiff_t>(vocab),
                                whole.end());
  EXPECT_LE(relative_difference(run({{0, left}}), last), 2e-4);

  // rows that nobody reads: all, also those of another sequence, or all but the last two
  EXPECT_EQ(cache->truncate(0, 0), 0);
  EXPECT_EQ(cache->truncate(1, 0), 0);
  const int64_t end = lengths[0], half = end / 2;
  lengths[0] = half;
  run({{1, 0}, {0, 0}}, lengths[1] + half);
  lengths[0] = end;
  const std::vector<float> two(whole.end() - 2 * static_cast<ptrdiff_t>(vocab), whole.end());
  const std::vector<float> behind = run({{0, half}}, end - half - 2);
  if (!by_length) {
    EXPECT_LE(relative_difference(behind, two), 2e-4);
  }
  EXPECT_EQ(cache->truncate(0, 0), 0);
  EXPECT_EQ(cache->truncate(1, 0), 0);
  EXPECT_LE(relative_difference(run({{1, 0}, {0, 0}}, lengths[1] + end - 2), two), 2e-4);
}

INSTANTIATE_TEST_SUITE_P(Plain, FamilyTest, testing::ValuesIn(checkpoints("families")), folder_test_name);
INSTANTIATE_TEST_SUITE_P(Quantized, FamilyTest, testing::ValuesIn(checkpoints("gptq")), folder_test_name);

/// Folders of tests/golden/models, committed: these never skip.
std::vector<std::string> golden_folders() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(source_dir() / "tests/golden/models")) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  return names;
}

class GoldenModelTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenModelTest, EqualsTransformers) {
  expect_reference(source_dir() / "tests/golden/models" / GetParam());
}

INSTANTIATE_TEST_SUITE_P(Golden, GoldenModelTest, testing::ValuesIn(golden_folders()));

}  // namespace
}  // namespace gptq::test
