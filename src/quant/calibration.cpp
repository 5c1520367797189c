#include "quant/calibration.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "model/decoder.h"
#include "model/sampler.h"

namespace gptq {
namespace {

/// `count` different numbers below `n`, ascending, by a partial Fisher-Yates shuffle.
std::vector<int64_t> draw(int64_t n, int64_t count, uint64_t seed) {
  std::vector<int64_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  Random random(seed);
  for (int64_t i = 0; i < count; ++i) {
    const auto j = i + static_cast<int64_t>(random.below(static_cast<uint64_t>(n - i)));
    std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(j)]);
  }
  all.resize(static_cast<size_t>(count));
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

Sequences cut_text(const Tokenizer& tokenizer, const std::string& text, int64_t samples, int64_t length,
                   std::optional<uint64_t> seed, int64_t vocab) {
  const std::vector<int32_t> ids = tokenizer.encode(text, AddSpecial::yes, ParseSpecial::yes);
  const auto total = static_cast<int64_t>(ids.size());
  if (total < 2)
    throw Error(Status::invalid_argument,
                cat("the calibration text has ", total, " tokens, wanted at least 2"));
  const auto foreign = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id >= vocab; });
  if (foreign != ids.end()) {
    throw Error(Fault::range, cat("the tokenizer gives token ", *foreign,
                                  ", but the model's embedding ends at ", vocab - 1));
  }
  if (total < length) return {ids};
  const int64_t whole = total / length, count = std::min(samples, whole);
  std::vector<int64_t> chosen;
  if (seed) {
    chosen = draw(whole, count, *seed);
  } else {
    chosen.resize(static_cast<size_t>(count));
    std::iota(chosen.begin(), chosen.end(), 0);
  }
  Sequences sequences;
  for (int64_t i : chosen) sequences.emplace_back(ids.begin() + i * length, ids.begin() + (i + 1) * length);
  return sequences;
}

Sequences write_own_text(const Spec& spec, const Weights& weights, const Backend& backend, int32_t start,
                         int64_t samples, int64_t length, uint64_t seed, const std::atomic<bool>* cancel,
                         const Progress& progress) {
  constexpr int64_t kTogether = 64;
  const auto vocab = static_cast<size_t>(spec.vocab);
  const auto stream = backend.create_stream(cancel);
  Decoder decoder(spec, *stream, std::min(samples, kTogether));
  Sequences sequences(static_cast<size_t>(samples), std::vector<int32_t>{start});
  std::vector<float> logits;
  for (int64_t first = 0; first < samples; first += kTogether) {
    const int64_t count = std::min(kTogether, samples - first);
    const auto cache = backend.create_cache(decoder.cache_shape(spec.layers, count));
    std::vector<Sampler> samplers;
    for (int64_t s = 0; s < count; ++s)
      samplers.emplace_back(
          SamplerOptions{.temperature = 1, .seed = seed + static_cast<uint64_t>(first + s)});
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    std::vector<Row> rows(static_cast<size_t>(count));
    std::vector<int64_t> lengths(static_cast<size_t>(count));
    logits.resize(static_cast<size_t>(count) * vocab);
    for (int64_t position = 0; position + 1 < length; ++position) {
      progress(first * (length - 1) + position * count, samples * (length - 1), "calibrate");
      for (int64_t s = 0; s < count; ++s) {
        const auto i = static_cast<size_t>(s);
        cache->reserve(static_cast<int32_t>(s), position + 1);
        tokens[i] = sequences[static_cast<size_t>(first + s)].back();
        rows[i] = {.sequence = static_cast<int32_t>(s), .position = static_cast<int32_t>(position)};
        lengths[i] = position + 1;
      }
      decoder.forward(weights, {.tokens = tokens, .rows = rows, .lengths = lengths}, *cache);
      decoder.logits(weights, 0, count, logits.data());
      for (int64_t s = 0; s < count; ++s) {
        auto& sequence = sequences[static_cast<size_t>(first + s)];
        sequence.push_back(samplers[static_cast<size_t>(s)].sample(
            std::span(logits).subspan(static_cast<size_t>(s) * vocab, vocab), {}));
      }
    }
  }
  return sequences;
}

}  // namespace gptq
