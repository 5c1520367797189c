// Trained models: their golden text and logits, as published by the projects that they come from.
#include <cmath>
#include <nlohmann/json.hpp>

#include "session/session.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

void quiet(int64_t, int64_t, const std::string&) {}

nlohmann::json golden_of(const fs::path& folder) {
  return nlohmann::json::parse(read_file(folder / "golden.json"));
}

/// Mean negative log-likelihood over the predictions of one window.
double window_nll(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& ids) {
  const auto logits = causal_logits(model, ids, static_cast<int64_t>(ids.size()));
  const auto vocab = static_cast<size_t>(model->spec().vocab);
  double total = 0;
  for (size_t t = 0; t + 1 < ids.size(); ++t) {
    const float* row = logits.data() + t * vocab;
    double sum = 0;
    for (size_t v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(row[v]));
    total += std::log(sum) - static_cast<double>(row[static_cast<size_t>(ids[t + 1])]);
  }
  return total / static_cast<double>(ids.size() - 1);
}

TEST(TrainedModels, Stories260kTellsItsStory) {
  GPTQ_EXTRA_DATA(folder, "models/stories260k");
  const auto golden = golden_of(folder);
  const auto model = load_model(folder);
  Session session(model, 0);
  session.append_text(golden["prompt_text"].get<std::string>());
  const auto prompt = golden["prompt_ids"].get<std::vector<int32_t>>();
  EXPECT_EQ(std::vector<int32_t>(session.history().begin(), session.history().end()), prompt);

  const auto all = golden["greedy_ids_from_bos"].get<std::vector<int32_t>>();
  Session from_start(model, 0);
  from_start.append_tokens(std::span(all).first(1));
  from_start.begin({.max_tokens = static_cast<int64_t>(all.size()) - 1}, quiet);
  std::vector<int32_t> ids{all[0]};
  std::string text;
  while (from_start.step() == StepResult::chunk) {
    ids.push_back(from_start.token());
    text += from_start.text();
  }
  EXPECT_EQ(ids, all);
  EXPECT_TRUE(text.starts_with("Once upon a time, there was a little girl named Lily.")) << text;
}

TEST(TrainedModels, Stories260kLogits) {
  GPTQ_EXTRA_DATA(folder, "models/stories260k");
  const auto golden = golden_of(folder);
  const auto expected = golden["last_logits_float64"].get<std::vector<float>>();
  const auto ids = golden["greedy_ids_from_bos"].get<std::vector<int32_t>>();
  const auto prompt = golden["prompt_ids"].get<std::vector<int32_t>>();
  const auto model = load_model(folder);
  double best = INFINITY;  // the recipe does not say whose last token: the prompt's or the text's
  for (const auto& tokens : {ids, prompt}) {
    auto logits = causal_logits(model, tokens, static_cast<int64_t>(tokens.size()));
    logits.erase(logits.begin(), logits.end() - static_cast<int64_t>(expected.size()));
    best = std::min(best, relative_difference(logits, expected));
  }
  EXPECT_LE(best, 2e-4);
}

TEST(TrainedModels, Slm4096Gpt2) {
  GPTQ_EXTRA_DATA(folder, "models/slm4096-gpt2");
  const auto golden = golden_of(folder);
  const auto vocabulary = nlohmann::json::parse(read_file(folder / "char_vocab.json"));
  const auto encode = [&](const std::string& text) {
    std::vector<int32_t> ids;
    for (char c : text) ids.push_back(vocabulary.at(std::string(1, c)).get<int32_t>());
    return ids;
  };
  const auto model = load_model(folder);
  const auto prompt = encode(golden["prompt"].get<std::string>());
  auto logits = causal_logits(model, prompt, static_cast<int64_t>(prompt.size()));
  logits.erase(logits.begin(), logits.end() - model->spec().vocab);
  EXPECT_LE(relative_difference(logits, golden["last_logits_float64_of_prompt"].get<std::vector<float>>()),
            2e-4);

  const auto expected = golden["greedy_ids"].get<std::vector<int32_t>>();
  Session session(model, 0);
  session.append_tokens(prompt);
  session.begin(
      {.max_tokens = static_cast<int64_t>(expected.size() - prompt.size()), .ignore_eos = IgnoreEos::yes},
      quiet);
  while (session.step() == StepResult::chunk) continue;
  EXPECT_EQ(std::vector<int32_t>(session.history().begin(), session.history().end()), expected);

  const auto corpus = encode(read_file(folder / "corpus.txt"));
  double total = 0;
  int windows = 0;
  for (size_t at = 0; at < 4096 - 129; at += 128, ++windows) {
    total += window_nll(
        model, {corpus.begin() + static_cast<int64_t>(at), corpus.begin() + static_cast<int64_t>(at) + 128});
  }
  EXPECT_NEAR(total / windows, golden["corpus_nll_per_char"].get<double>(), 1e-5);
}

}  // namespace
}  // namespace gptq::test
