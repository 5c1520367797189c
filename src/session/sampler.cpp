#include "session/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace gptq {

int32_t argmax(std::span<const float> values) {
  return static_cast<int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

namespace {

constexpr auto kLikelier = [](const auto& a, const auto& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
};

}  // namespace

void DistinctTokens::take(std::span<const int32_t> history) {
  for (int32_t id : ids_) marked_[static_cast<size_t>(id)] = 0;
  ids_.clear();
  for (int32_t id : history) {
    const auto at = static_cast<size_t>(id);
    if (at >= marked_.size()) marked_.resize(at + 1);
    if (marked_[at] != 0) continue;
    ids_.push_back(id);
    marked_[at] = 1;
  }
}

void Sampler::penalize(Given given, std::span<const int32_t> history) {
  if (options_.repetition_penalty == 1) return;
  const auto lower = [&](Candidate& c) {
    c.weight = c.weight > 0 ? c.weight / options_.repetition_penalty : c.weight * options_.repetition_penalty;
  };
  seen_.take(history);
  if (given == Given::all) {
    for (int32_t id : seen_.ids()) lower(candidates_[static_cast<size_t>(id)]);
  } else {
    for (Candidate& c : candidates_) {
      if (seen_.has(c.id)) lower(c);
    }
  }
}

/// Those that are kept stand in their order then, wherever they came from.
void Sampler::keep_top_k(Given given) {
  const auto k = static_cast<size_t>(options_.top_k);
  if (k == 0 || (given == Given::all && k >= candidates_.size())) return;
  if (k < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<int64_t>(k) - 1,
                     candidates_.end(), kLikelier);
    candidates_.resize(k);
  }
  std::sort(candidates_.begin(), candidates_.end(), kLikelier);
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

/// A penalty above 1 lets only tokens of the history fall behind others, so that as many more are enough.
int64_t Sampler::enough(std::span<const int32_t> history, int64_t limit) {
  const int64_t k = options_.temperature == 0 ? 1 : options_.top_k;
  if (k == 0 || k > limit || options_.repetition_penalty < 1) return 0;
  if (options_.repetition_penalty == 1) return k;
  seen_.take(history);
  const int64_t all = k + static_cast<int64_t>(seen_.ids().size());
  return all <= limit ? all : 0;
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history) {
  candidates_.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    candidates_[i] = {static_cast<int32_t>(i), static_cast<double>(logits[i])};
  return draw(Given::all, history);
}

int32_t Sampler::sample(std::span<const Ranked> largest, std::span<const int32_t> history) {
  candidates_.clear();
  for (const Ranked& r : largest) candidates_.push_back({r.column, static_cast<double>(r.value)});
  return draw(Given::largest, history);
}

int32_t Sampler::draw(Given given, std::span<const int32_t> history) {
  for (const Candidate& c : candidates_) {
    if (std::isnan(c.weight)) throw Error(Fault::numeric, cat("the logit of token ", c.id, " is NaN"));
  }
  penalize(given, history);
  const Candidate first = *std::min_element(candidates_.begin(), candidates_.end(), kLikelier);
  const double best = first.weight;
  if (options_.temperature == 0 || !std::isfinite(best)) return first.id;
  keep_top_k(given);
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
