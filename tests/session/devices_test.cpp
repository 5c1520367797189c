// Models whose layers lie on several devices: to the bit what they are on one.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "model/pipeline.h"
#include "session/session.h"
#include "support/families.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

void quiet(int64_t, int64_t, const std::string&) {}

std::shared_ptr<const Model> load(const fs::path& folder, const std::string& device, const LayerSplit& split,
                                  Compute compute, int threads = 1) {
  ModelOptions options;
  options.device = device;
  options.layer_split = split;
  options.backend.threads = threads;
  options.backend.compute = compute;
  return Model::load(folder, options, quiet);
}

/// What sequences of a batch come to: pieces of several sequences side by side, one that is cut back, and one that begins
/// anew. `left` has what truncate() gave.
struct Batches {
  std::vector<float> logits;
  std::vector<int64_t> left;

  bool operator==(const Batches&) const = default;
};

Batches run_batches(const Model& model, const std::vector<int32_t>& ids) {
  Pipeline pipeline(model.spec(), model.segments(), nullptr, 64);
  const auto cache = pipeline.create_cache(3);
  Batches batches;
  using Piece = std::array<int64_t, 3>;  // sequence, first position, the one behind the last
  const auto run = [&](const std::vector<Piece>& pieces) {
    std::vector<int32_t> tokens;
    std::vector<Row> rows;
    std::vector<int64_t> lengths;
    for (const auto& [sequence, begin, end] : pieces) {
      cache->reserve(static_cast<int32_t>(sequence), end);
      for (int64_t i = begin; i < end; ++i) {
        tokens.push_back(ids[static_cast<size_t>((i + 3 * sequence) % static_cast<int64_t>(ids.size()))]);
        rows.push_back({.sequence = static_cast<int32_t>(sequence), .position = static_cast<int32_t>(i)});
        lengths.push_back(end);
      }
    }
    pipeline.forward(model.weights(), {.tokens = tokens, .rows = rows, .lengths = lengths}, *cache);
    const size_t before = batches.logits.size(), vocab = static_cast<size_t>(model.spec().vocab);
    batches.logits.resize(before + rows.size() * vocab);
    pipeline.logits(model.weights(), 0, static_cast<int64_t>(rows.size()), batches.logits.data() + before);
  };
  run({{1, 0, 5}, {0, 0, 9}, {2, 0, 3}});
  cache->mark(0);
  run({{0, 9, 10}, {2, 3, 6}});
  batches.left.push_back(cache->truncate(0, 9));
  batches.left.push_back(cache->truncate(1, 4));
  run({{0, batches.left[0], 12}, {1, batches.left[1], 5}});
  batches.left.push_back(cache->truncate(2, 0));
  run({{2, 0, 4}});
  return batches;
}

/// Layers for each of so many devices: a few ways, with none for one of them.
std::vector<LayerSplit> splits_of(int64_t layers) {
  std::vector<LayerSplit> splits{{1, layers - 1}, {0, layers}, {layers - 1, 0, 1}};
  if (layers > 2) splits.push_back({1, 1, layers - 2});
  if (layers > 3) splits.push_back({1, 1, 1, layers - 3});
  return splits;
}

void expect_the_same_on_several(const fs::path& folder) {
  for (const Compute compute : {Compute::exact, Compute::fast}) {
    const auto one = load(folder, "cpu", {}, compute);
    const Spec& spec = one->spec();
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < 14; ++i)
      ids.push_back(static_cast<int32_t>((i * i * 31 + 7 * i + 5) % spec.vocab));
    const auto whole = causal_logits(one, ids, 14), pieces = causal_logits(one, ids, 3);
    const auto greedy = greedy_ids(one, ids, 6);
    const Batches batches = run_batches(*one, ids);
    EXPECT_EQ(one->layer_split(), cat(spec.layers));
    for (const LayerSplit& split : splits_of(spec.layers)) {
      std::string devices = "cpu", numbers = cat(split[0]);
      for (size_t i = 1; i < split.size(); ++i) {
        devices += ",cpu";
        numbers += cat(',', split[i]);
      }
      SCOPED_TRACE(numbers);
      const auto several = load(folder, devices, split, compute);
      EXPECT_EQ(several->layer_split(), numbers);
      EXPECT_EQ(several->parameters(), one->parameters());
      EXPECT_EQ(several->weight_bytes_per_token(), one->weight_bytes_per_token());
      // one device, listed more than once: one table where it is tied
      EXPECT_EQ(several->weights().head == several->weights().embed,
                one->weights().head == one->weights().embed);
      EXPECT_EQ(several->weight_bytes(), one->weight_bytes());
      EXPECT_EQ(causal_logits(several, ids, 14), whole);
      EXPECT_EQ(causal_logits(several, ids, 3), pieces);
      EXPECT_EQ(greedy_ids(several, ids, 6), greedy);
      EXPECT_EQ(run_batches(*several, ids), batches);
    }
  }
}

class DevicesTest : public testing::TestWithParam<std::string> {};

TEST_P(DevicesTest, GiveWhatOneGives) {
  expect_the_same_on_several(source_dir() / "tests/golden/models" / GetParam());
}

/// Attention, learned positions, act-order, experts, states, latents, a tied head.
INSTANTIATE_TEST_SUITE_P(Golden, DevicesTest,
                         testing::Values("llama", "gpt2", "gptq-b4-g16-v2-asym-actorder", "granitemoe",
                                         "qwen3-5-short-conv", "qwen3-next-dense-first", "minicpm3",
                                         "llama-bias-tied", "llama4-unrotated", "qwen3-5-moe"));

class MoreDevicesTest : public testing::TestWithParam<std::string> {};

TEST_P(MoreDevicesTest, GiveWhatOneGives) {
  GPTQ_EXTRA_DATA(folder, GetParam());
  expect_the_same_on_several(folder);
}

INSTANTIATE_TEST_SUITE_P(Families, MoreDevicesTest, testing::ValuesIn(checkpoints("families")),
                         folder_test_name);

const fs::path kSample = source_dir() / "samples/model";

std::vector<int32_t> story_ids(const Model& model, size_t count) {
  const auto ids = model.tokenizer()->encode(
      "Once upon a time there was a little dog who lived near the sea.", AddSpecial::yes, ParseSpecial::no);
  std::vector<int32_t> all;
  while (all.size() < count) all.insert(all.end(), ids.begin(), ids.end());
  all.resize(count);
  return all;
}

std::string generate(Session& session, const GenerationOptions& options) {
  session.begin(options, quiet);
  std::string text;
  while (session.step() == StepResult::chunk) text += session.text();
  return text;
}

/// More than one piece of a prompt, sampling, a second turn; without a split all devices get as many.
TEST(Devices, TellTheSameStory) {
  const auto one = load(kSample, "cpu", {}, Compute::fast, 2);
  const GenerationOptions options{.sampler = {.temperature = 0.8, .top_p = 0.9, .seed = 11},
                                  .max_tokens = 40};
  Session wanted(one, 2048);
  wanted.append_tokens(story_ids(*one, 700));
  const std::string first = generate(wanted, options);
  wanted.append_text(" One day");
  const std::string second = generate(wanted, options);
  EXPECT_GT(first.size(), 40u);
  for (const char* devices : {"cpu,cpu", "cpu,cpu,cpu"}) {
    const auto several = load(kSample, devices, {}, Compute::fast, 2);
    EXPECT_EQ(several->layer_split(), std::string(devices) == "cpu,cpu" ? "2,2" : "2,1,1");
    EXPECT_EQ(several->threads(), 2);
    EXPECT_NE(several->device().find(" + cpu ("), std::string::npos);
    Session session(several, 2048);
    session.append_tokens(story_ids(*one, 700));
    EXPECT_EQ(generate(session, options), first) << devices;
    session.append_text(" One day");
    EXPECT_EQ(generate(session, options), second) << devices;
    EXPECT_GE(session.cache_bytes(), wanted.cache_bytes());
    session.reset();
    EXPECT_EQ(session.cache_bytes(), 0u);
    session.append_tokens(story_ids(*one, 700));
    EXPECT_EQ(generate(session, options), first) << devices;
  }
}

TEST(Devices, KeepKeysAndValuesIn8Bits) {
  const auto one = load(kSample, "cpu", {}, Compute::fast), two = load(kSample, "cpu,cpu", {}, Compute::fast);
  Session a(one, 0, KvElements::int8), b(two, 0, KvElements::int8);
  for (Session* session : {&a, &b}) session->append_tokens(story_ids(*one, 60));
  EXPECT_EQ(generate(a, {.max_tokens = 20}), generate(b, {.max_tokens = 20}));
}

/// Ends a call at its `at`-th piece of parallel work, whichever segment that is in.
struct CancellingExecutor {
  const Session* session = nullptr;
  int64_t calls = 0, at = -1;

  static void run(void* data, int64_t count, void (*task)(void* context, int64_t index), void* context) {
    auto& self = *static_cast<CancellingExecutor*>(data);
    if (self.calls++ == self.at) self.session->cancel();
    for (int64_t i = 0; i < count; ++i) task(context, i);
  }
};

/// Wherever it comes, the session is as before the call; a state goes back to where it was marked.
void expect_cancels(const fs::path& folder, const std::string& devices, int64_t stride) {
  CancellingExecutor executor;
  ModelOptions options;
  options.device = devices;
  options.backend.threads = 2;
  options.backend.executor = {CancellingExecutor::run, &executor};
  const auto model = Model::load(folder, options, quiet);
  const int64_t vocab = model->spec().vocab;
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < 60; ++i) ids.push_back(static_cast<int32_t>((i * i * 31 + 7 * i + 5) % vocab));
  const std::span<const int32_t> first = std::span(ids).first(35), rest = std::span(ids).subspan(35);
  const auto logits = [](const Session& session) {
    return std::vector<float>(session.logits().begin(), session.logits().end());
  };
  const auto begin = [&](Session& session) {
    session.append_tokens(first);
    session.prefill(Logits::none, quiet);
    session.append_tokens(rest);
  };
  Session wanted(model, 0);
  begin(wanted);
  executor.calls = 0;
  wanted.prefill(Logits::last, quiet);
  const int64_t calls = executor.calls;
  ASSERT_GT(calls, 4);
  for (int64_t at = 0; at < calls; at += stride) {
    Session session(model, 0);
    begin(session);
    const uint64_t bytes = session.cache_bytes();
    executor = {.session = &session, .calls = 0, .at = at};
    bool ended = false;
    try {
      session.prefill(Logits::last, quiet);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::cancelled);
      ended = true;
    }
    EXPECT_TRUE(ended || at + 1 == calls) << at;  // the last work may be done before anybody looks
    EXPECT_LE(executor.calls, at + 3);
    executor.at = -1;
    session.clear_cancel();
    if (!ended) continue;
    EXPECT_LE(session.cache_bytes(), bytes + bytes / 2);  // with a copy of a state
    session.prefill(Logits::last, quiet);
    EXPECT_EQ(logits(session), logits(wanted)) << at << " of " << calls;
  }
}

TEST(Devices, AreCancelledInEachSegment) {
  expect_cancels(kSample, "cpu,cpu", 5);
  expect_cancels(source_dir() / "tests/golden/models/qwen3-next-dense-first", "cpu,cpu,cpu", 3);
}

std::string refusal(const ModelOptions& options, const fs::path& folder = kSample) {
  try {
    static_cast<void>(Model::load(folder, options, quiet));
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    return error.what();
  }
  return "";
}

TEST(Devices, SayWhatIsWrongWithAList) {
  struct Case {
    const char* device;
    LayerSplit split;
    const char* said;
  };
  const Case cases[] = {
      {"cpu,abacus", {}, "device 'abacus' is not known"},
      {"cpu,cuda:x", {}, "device 'cuda:x' is not known"},
      {"cpu,,cpu", {}, "device 2 of the list 'cpu,,cpu' has no name"},
      {"cpu,", {}, "device 2 of the list 'cpu,' has no name"},
      {",cpu", {}, "device 1 of the list ',cpu' has no name"},
      {"cpu, cpu", {}, "device ' cpu' is not known"},
      {"cpu,cpu,cpu,cpu,cpu", {}, "5 devices for a model of 4 layers"},
      {"cpu,cpu", {2, 3}, "adds up to 5 layers, but the model has 4"},
      {"cpu,cpu", {4}, "has 1 number, but there are 2 devices"},
      {"cpu", {5}, "adds up to 5 layers, but the model has 4"},
      {"", {2, 2}, "has 2 numbers, but there is one device"},
  };
  for (const Case& c : cases) {
    ModelOptions options;
    options.device = c.device;
    options.layer_split = c.split;
    const std::string said = refusal(options);
    EXPECT_NE(said.find(c.said), std::string::npos) << c.device << ": " << said;
  }
  std::string many = "cpu";
  for (int i = 0; i < 64; ++i) many += ",cpu";
  EXPECT_NE(refusal({.device = many}).find("a list of 65 devices, wanted at most 64"), std::string::npos);
  try {
    static_cast<void>(create_backend("cpu,cpu", {}));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("is a list, wanted one device"), std::string::npos);
  }
  EXPECT_NO_THROW(check_device("cpu,cpu"));
  EXPECT_THROW(check_device("cpu,abacus"), Error);
}

/// What one model says of itself can be given to the next.
TEST(Devices, OneHasASplit) {
  const auto one = load(kSample, "cpu", {4}, Compute::fast);
  EXPECT_EQ(one->layer_split(), "4");
  EXPECT_EQ(load(kSample, "cpu", parse_layer_split(one->layer_split()), Compute::fast)->layer_split(), "4");
}

TEST(Devices, ACacheOfAnotherPipelineIsRefused) {
  const auto one = load(kSample, "cpu", {}, Compute::fast), two = load(kSample, "cpu,cpu", {}, Compute::fast),
             three = load(kSample, "cpu,cpu,cpu", {}, Compute::fast);
  Pipeline pipeline(two->spec(), two->segments(), nullptr, 8);
  const std::vector<int32_t> tokens{1};
  const std::vector<Row> rows{{.sequence = 0, .position = 0}};
  const std::vector<int64_t> lengths{1};
  for (const auto& model : {one, three}) {
    const auto cache = Pipeline(model->spec(), model->segments(), nullptr, 8).create_cache(1);
    cache->reserve(0, 1);
    try {
      pipeline.forward(two->weights(), {.tokens = tokens, .rows = rows, .lengths = lengths}, *cache);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::internal);
    }
  }
}

TEST(Devices, WithoutWeights) {
  ModelOptions options;
  options.device = "cpu,cpu";
  options.layer_split = {1, 3};
  options.weights = LoadWeights::no;
  const auto model = Model::load(kSample, options, quiet);
  EXPECT_EQ(model->layer_split(), "");
  EXPECT_THROW(Session(model, 0), Error);
}

}  // namespace
}  // namespace gptq::test
