// Logits -> token: greedy, or drawn after temperature, top-k, top-p, min-p and repetition penalty, by a seed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/random.h"

namespace gptq {

struct SamplerOptions {
  double temperature = 0;         // 0: the most likely token
  int64_t top_k = 0;              // 0: all
  double top_p = 1;               // 1: all
  double min_p = 0;               // 0: all
  double repetition_penalty = 1;  // 1: none
  uint64_t seed = 0;
};

/// The tokens of a history, each once, in time that is linear in it.
class DistinctTokens {
 public:
  void take(std::span<const int32_t> history);
  const std::vector<int32_t>& ids() const { return ids_; }
  bool has(int32_t id) const {
    return static_cast<size_t>(id) < marked_.size() && marked_[static_cast<size_t>(id)] != 0;
  }

 private:
  std::vector<uint8_t> marked_;  // [id] 1: it is there
  std::vector<int32_t> ids_;
};

class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {}

  /// The next token. `history` is what the repetition penalty looks at. Ties go to the smaller id.
  /// Fault::numeric when a logit is NaN.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history);
  /// How many of the largest logits say as much as all of them do; 0: more than `limit`.
  int64_t enough(std::span<const int32_t> history, int64_t limit);
  /// The same token from so many of them, or more, in the order of Stream::largest().
  int32_t sample(std::span<const Ranked> largest, std::span<const int32_t> history);

 private:
  struct Candidate {
    int32_t id;
    double weight;  // logit, then unnormalized probability
  };
  enum class Given : uint8_t { all, largest };
  int32_t draw(Given given, std::span<const int32_t> history);
  void penalize(Given given, std::span<const int32_t> history);
  void keep_top_k(Given given);
  void keep_top_p();

  SamplerOptions options_;
  Random random_;
  DistinctTokens seen_;
  std::vector<Candidate> candidates_;
};

/// Index of the largest; the first one on ties.
int32_t argmax(std::span<const float> values);

}  // namespace gptq
