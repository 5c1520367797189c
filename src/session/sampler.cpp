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

constexpr int64_t kFew = 1024;
/// Of the sum of all weights that penalties must leave: of less, too few digits are known.
constexpr double kLeastLeft = 1e-3;

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

double Sampler::lowered(double logit) const {
  return logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
}

void Sampler::penalize(Given given, std::span<const int32_t> history) {
  if (options_.repetition_penalty == 1) return;
  const auto lower = [&](Candidate& c) { c.weight = lowered(c.weight); };
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
  sorted_ = candidates_.size();
}

/// The first `count` of them, behind those that are: few by a heap, which most of the others never enter.
void Sampler::sort_likeliest(size_t count) {
  count = std::min(count, candidates_.size());
  if (count <= sorted_) return;
  const auto first = candidates_.begin() + static_cast<int64_t>(sorted_),
             last = candidates_.begin() + static_cast<int64_t>(count);
  if (last - first <= kFew) {
    std::partial_sort(first, last, candidates_.end(), kLikelier);
  } else {
    std::nth_element(first, last - 1, candidates_.end(), kLikelier);
    std::sort(first, last, kLikelier);
  }
  sorted_ = count;
}

/// The likeliest that together are top_p of `all`, or all there are: whether they are as much. Sorts only as many as it takes.
bool Sampler::keep_top_p(double all) {
  double sum = 0;
  for (size_t kept = 0; kept < candidates_.size(); ++kept) {
    if (kept == sorted_) sort_likeliest(std::max(static_cast<size_t>(kLikeliest), sorted_ * 4));
    sum += candidates_[kept].weight;
    if (sum >= options_.top_p * all) {
      candidates_.resize(kept + 1);
      sorted_ = std::min(sorted_, candidates_.size());
      return true;
    }
  }
  return false;
}

void Sampler::keep_min_p() {
  if (options_.min_p <= 0) return;
  std::erase_if(candidates_,
                [&](const Candidate& c) { return c.weight < options_.min_p; });  // the best has 1
  sorted_ = std::min(sorted_, candidates_.size());
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

double Sampler::sum_temperature() const {
  return options_.top_k == 0 && options_.repetition_penalty >= 1 ? options_.temperature : 0;
}

std::span<const int32_t> Sampler::penalized(std::span<const int32_t> history) {
  if (options_.repetition_penalty == 1) return {};
  seen_.take(history);
  return seen_.ids();
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history) {
  candidates_.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    candidates_[i] = {static_cast<int32_t>(i), static_cast<double>(logits[i])};
  return draw(Given::all, history);
}

int32_t Sampler::sample(std::span<const Ranked> largest, std::span<const int32_t> history) {
  take(largest);
  return draw(Given::largest, history);
}

std::optional<int32_t> Sampler::sample(const KnownLogits& known, std::span<const int32_t> history) {
  if (!known.exp_sum) return sample(known.largest, history);
  return draw_likely(known, history);
}

void Sampler::take(std::span<const Ranked> largest) {
  candidates_.clear();
  for (const Ranked& r : largest) candidates_.push_back({r.column, static_cast<double>(r.value)});
}

void Sampler::check_candidates() const {
  for (const Candidate& c : candidates_) {
    if (std::isnan(c.weight)) throw Error(Fault::numeric, cat("the logit of token ", c.id, " is NaN"));
  }
}

Sampler::Candidate Sampler::likeliest() const {
  return *std::min_element(candidates_.begin(), candidates_.end(), kLikelier);
}

double Sampler::weight(double logit, double best) const {
  return std::exp((logit - best) / options_.temperature);
}

double Sampler::total() const {
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  return total;
}

double Sampler::uniform() {
  const double number = left_ ? *left_ : random_.uniform();
  left_.reset();
  return number;
}

/// The one in whose weight a part of the total ends.
std::optional<int32_t> Sampler::at(double part) const {
  for (const Candidate& c : candidates_) {
    part -= c.weight;
    if (part < 0) return c.id;
  }
  return std::nullopt;
}

/// The likeliest come first, so that a part which ends among them says the token whatever the order of the others.
int32_t Sampler::draw(Given given, std::span<const int32_t> history) {
  sorted_ = 0;
  check_candidates();
  penalize(given, history);
  const Candidate first = likeliest();
  if (options_.temperature == 0 || !std::isfinite(first.weight)) return first.id;
  keep_top_k(given);
  for (Candidate& c : candidates_) c.weight = weight(c.weight, first.weight);
  if (options_.top_p < 1) keep_top_p(total());
  keep_min_p();
  sort_likeliest(static_cast<size_t>(kLikeliest));
  return at(uniform() * total()).value_or(candidates_.front().id);
}

/// What is not among the candidates is at most as likely as the last of them was before penalties, which lower others alone.
/// Those that are likelier have their places.
std::optional<int32_t> Sampler::draw_likely(const KnownLogits& known, std::span<const int32_t> history) {
  take(known.largest);
  check_candidates();
  const double most = candidates_.front().weight, last = candidates_.back().weight;
  penalize(Given::largest, history);
  const Candidate first = likeliest();
  if (!std::isfinite(first.weight)) return first.id;
  double all = *known.exp_sum;
  for (double logit : known.penalized) all += weight(lowered(logit), most) - weight(logit, most);
  if (all < kLeastLeft * *known.exp_sum) return std::nullopt;
  all *= weight(most, first.weight);
  const double least = weight(last, first.weight);
  for (Candidate& c : candidates_) c.weight = weight(c.weight, first.weight);
  std::erase_if(candidates_, [&](const Candidate& c) { return c.weight <= least; });
  std::sort(candidates_.begin(), candidates_.end(), kLikelier);
  sorted_ = candidates_.size();
  bool ends = least < options_.min_p;  // what may be chosen, among them
  if (options_.top_p < 1) ends |= keep_top_p(all);
  if (!ends && (options_.top_p < 1 || options_.min_p > 0)) return std::nullopt;
  keep_min_p();
  const double number = uniform();
  const std::optional<int32_t> token = at(number * (ends ? total() : all));
  if (!token) left_ = number;
  return token;
}

}  // namespace gptq
