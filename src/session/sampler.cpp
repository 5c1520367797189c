#include "session/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace gptq {

int32_t argmax(std::span<const float> values) {
  return static_cast<int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

void Sampler::penalize(std::span<const int32_t> history) {
  if (options_.repetition_penalty == 1) return;
  std::vector<int32_t> seen(history.begin(), history.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (int32_t id : seen) {
    double& logit = candidates_[static_cast<size_t>(id)].weight;
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
  }
}

namespace {

constexpr auto kLikelier = [](const auto& a, const auto& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
};

}  // namespace

void Sampler::keep_top_k() {
  const auto k = static_cast<size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<int64_t>(k) - 1, candidates_.end(),
                   kLikelier);
  candidates_.resize(k);
}

/// Sorts only as many candidates as it takes to reach top_p.
void Sampler::keep_top_p() {
  if (options_.top_p >= 1) return;
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  double sum = 0;
  size_t sorted = 0;
  for (size_t kept = 0; kept < candidates_.size(); ++kept) {
    if (kept == sorted) {
      sorted = std::min(candidates_.size(), std::max<size_t>(256, sorted * 4));
      std::partial_sort(candidates_.begin() + static_cast<int64_t>(kept),
                        candidates_.begin() + static_cast<int64_t>(sorted), candidates_.end(), kLikelier);
    }
    sum += candidates_[kept].weight;
    if (sum >= options_.top_p * total) {
      candidates_.resize(kept + 1);
      return;
    }
  }
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history) {
  candidates_.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) throw Error(Fault::numeric, cat("the logit of token ", i, " is NaN"));
    candidates_[i] = {static_cast<int32_t>(i), static_cast<double>(logits[i])};
  }
  penalize(history);
  const double best =
      std::max_element(candidates_.begin(), candidates_.end(), [](const auto& a, const auto& b) {
        return a.weight < b.weight;
      })->weight;
  if (options_.temperature == 0 || !std::isfinite(best)) {
    return std::find_if(candidates_.begin(), candidates_.end(),
                        [&](const auto& c) { return c.weight == best; })
        ->id;
  }
  keep_top_k();
  for (Candidate& c : candidates_) c.weight = std::exp((c.weight - best) / options_.temperature);
  keep_top_p();
  if (options_.min_p > 0) {  // the best has weight 1
    std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < options_.min_p; });
  }
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  double left = random_.uniform() * total;
  for (const Candidate& c : candidates_) {
    left -= c.weight;
    if (left < 0) return c.id;
  }
  return candidates_.back().id;
}

}  // namespace gptq
