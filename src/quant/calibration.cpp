#include "quant/calibration.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "model/decoder.h"
#include "session/sampler.h"

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

std::vector<int32_t> tokens_of(const Tokenizer& tokenizer, const std::string& document, int64_t vocab) {
  std::vector<int32_t> ids = tokenizer.encode(document, AddSpecial::yes, ParseSpecial::yes);
  const auto foreign = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id >= vocab; });
  if (foreign != ids.end()) {
    throw Error(Fault::range, cat("the tokenizer gives token ", *foreign,
                                  ", but the model's embedding ends at ", vocab - 1));
  }
  return ids;
}

/// All whole sequences of the documents as one text, or no more than are asked for.
Sequences cut_packed(const Tokenizer& tokenizer, std::span<const std::string> documents,
                     const CutOptions& options) {
  const auto length = static_cast<size_t>(options.length);
  Sequences sequences;
  std::vector<int32_t> rest;
  for (const std::string& document : documents) {
    if (!rest.empty() && options.eos && rest.back() != *options.eos) rest.push_back(*options.eos);
    const std::vector<int32_t> ids = tokens_of(tokenizer, document, options.vocab);
    rest.insert(rest.end(), ids.begin(), ids.end());
    size_t at = 0;
    for (; rest.size() - at >= length; at += length) {
      const auto begin = rest.begin() + static_cast<std::ptrdiff_t>(at);
      sequences.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(length));
    }
    rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(at));
    if (!options.seed && static_cast<int64_t>(sequences.size()) >= options.samples) return sequences;
  }
  if (sequences.empty() && !rest.empty()) sequences.push_back(std::move(rest));
  return sequences;
}

CutText cut_singly(const Tokenizer& tokenizer, std::span<const std::string> documents,
                   const CutOptions& options) {
  const auto length = static_cast<size_t>(options.length);
  const auto shortest = static_cast<size_t>(std::min(options.length, kShortestSequence));
  CutText cut;
  for (const std::string& document : documents) {
    const std::vector<int32_t> ids = tokens_of(tokenizer, document, options.vocab);
    for (size_t at = 0; at < ids.size(); at += length) {
      const size_t count = std::min(length, ids.size() - at);
      if (count < shortest) {
        ++cut.too_short;
      } else {
        const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(at);
        cut.sequences.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(count));
      }
    }
    if (!options.seed && static_cast<int64_t>(cut.sequences.size()) >= options.samples) break;
  }
  return cut;
}

}  // namespace

void take_samples(Sequences& sequences, int64_t samples, std::optional<uint64_t> seed) {
  const auto whole = static_cast<int64_t>(sequences.size()), count = std::min(samples, whole);
  if (!seed) {
    sequences.resize(static_cast<size_t>(count));
    return;
  }
  Sequences chosen;
  for (int64_t i : draw(whole, count, *seed)) chosen.push_back(std::move(sequences[static_cast<size_t>(i)]));
  sequences = std::move(chosen);
}

CutText cut_documents(const Tokenizer& tokenizer, std::span<const std::string> documents,
                      const CutOptions& options) {
  CutText cut;
  if (options.packing == Packing::yes) {
    cut.sequences = cut_packed(tokenizer, documents, options);
  } else {
    cut = cut_singly(tokenizer, documents, options);
  }
  Sequences& sequences = cut.sequences;
  if (sequences.empty() && cut.too_short > 0) {
    throw Error(Status::invalid_argument, cat("none of the ", documents.size(), " calibration documents has ",
                                              kShortestSequence, " tokens"));
  }
  const size_t most = sequences.empty() ? 0 : sequences[0].size();
  if (most < 2 && sequences.size() < 2) {
    throw Error(Status::invalid_argument,
                cat("the calibration text has ", most, " tokens, wanted at least 2"));
  }
  take_samples(sequences, options.samples, options.seed);
  return cut;
}

Sequences write_own_text(const Spec& spec, const Weights& weights, const Backend& backend, int32_t start,
                         int64_t samples, int64_t length, uint64_t seed, const std::atomic<bool>* cancel,
                         const Progress& progress) {
  constexpr int64_t kTogether = 64;
  const auto vocab = static_cast<size_t>(spec.vocab);
  const auto stream = backend.create_stream(cancel);
  Decoder decoder(spec, backend, *stream, std::min(samples, kTogether));
  Sequences sequences(static_cast<size_t>(samples), std::vector<int32_t>{start});
  std::vector<float> logits;
  for (int64_t first = 0; first < samples; first += kTogether) {
    const int64_t count = std::min(kTogether, samples - first);
    const auto cache = backend.create_cache(decoder.cache_shape(count));
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
