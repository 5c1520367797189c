// Logits -> token: greedy, or drawn after temperature, top-k, top-p, min-p and repetition penalty, by a seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
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

/// What of logits has come from a device that has all of them.
struct KnownLogits {
  std::vector<Ranked> largest;  // as Stream::largest() finds them; of none nothing is known
  std::optional<double>
      exp_sum;  // by Stream::exp_sums() at Sampler::sum_temperature(), where those are not enough
  std::vector<float> penalized;  // with it: of Sampler::penalized()
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

  /// Where only all are enough, so many of the largest and the sum over all mostly say which token it is.
  static constexpr int64_t kLikeliest = 256;
  /// The temperature of that sum; 0: they never do.
  double sum_temperature() const;
  /// Tokens whose logits have to be known besides, as the penalty changes the sum.
  std::span<const int32_t> penalized(std::span<const int32_t> history);
  /// The token that sample() chooses from all logits. None: only they say it, sample() by the same random number.
  std::optional<int32_t> sample(const KnownLogits& known, std::span<const int32_t> history);

 private:
  struct Candidate {
    int32_t id;
    double weight;  // logit, then unnormalized probability
  };
  enum class Given : uint8_t { all, largest };
  void take(std::span<const Ranked> largest);
  int32_t draw(Given given, std::span<const int32_t> history);
  std::optional<int32_t> draw_likely(const KnownLogits& known, std::span<const int32_t> history);
  /// Fault::numeric where one is NaN.
  void check_candidates() const;
  Candidate likeliest() const;
  double lowered(double logit) const;
  double weight(double logit, double best) const;
  double total() const;
  double uniform();
  std::optional<int32_t> at(double part) const;
  void penalize(Given given, std::span<const int32_t> history);
  void keep_top_k(Given given);
  bool keep_top_p(double all);
  void keep_min_p();
  void sort_likeliest(size_t count);

  SamplerOptions options_;
  Random random_;
  DistinctTokens seen_;
  std::vector<Candidate> candidates_;
  size_t sorted_ = 0;           // of them, the likeliest, in their order
  std::optional<double> left_;  // a random number that has chosen no token yet
};

/// Index of the largest; the first one on ties.
int32_t argmax(std::span<const float> values);

}  // namespace gptq
