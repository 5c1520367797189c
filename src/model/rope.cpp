// Frequencies are computed in fp32 in the order that transformers does, so that angles far out agree with it.
#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gptq {
namespace {

constexpr double kTau = 2 * std::numbers::pi;

/// theta^(-2i / dim), i < dim / 2
std::vector<float> base_frequencies(double theta, int64_t dim) {
  std::vector<float> f(static_cast<size_t>(dim / 2));
  for (size_t i = 0; i < f.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
    f[i] = 1.0f / static_cast<float>(std::pow(static_cast<double>(static_cast<float>(theta)),
                                              static_cast<double>(exponent)));
  }
  return f;
}

/// Yarn: dimensions that turn often keep their frequency, those that turn rarely are slowed by `factor`, with a
/// ramp between.
void stretch_yarn(const RopeSpec& spec, std::vector<float>& f) {
  const auto dim = static_cast<double>(spec.dim), context = static_cast<double>(spec.original_context);
  const auto turning_dim = [&](double turns) {
    return dim * std::log(context / (turns * kTau)) / (2 * std::log(spec.theta));
  };
  double low = turning_dim(spec.beta_fast), high = turning_dim(spec.beta_slow);
  if (spec.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < f.size(); ++i) {
    const float ramp =
        std::clamp(static_cast<float>((static_cast<double>(i) - low) / (high - low)), 0.0f, 1.0f);
    f[i] = f[i] / static_cast<float>(spec.factor) * ramp + f[i] * (1.0f - ramp);
  }
}

/// Llama 3.1: long wavelengths slowed by `factor`, short ones kept, a smooth passage between.
void stretch_llama3(const RopeSpec& spec, std::vector<float>& f) {
  const auto context = static_cast<double>(spec.original_context);
  for (float& frequency : f) {
    const double wavelength = kTau / static_cast<double>(frequency);
    if (wavelength < context / spec.high_freq_factor) continue;
    const double slowed = static_cast<double>(frequency) / spec.factor;
    if (wavelength > context / spec.low_freq_factor) {
      frequency = static_cast<float>(slowed);
      continue;
    }
    const double smooth =
        (context / wavelength - spec.low_freq_factor) / (spec.high_freq_factor - spec.low_freq_factor);
    frequency = static_cast<float>((1 - smooth) * slowed + smooth * static_cast<double>(frequency));
  }
}

}  // namespace

Rope::Rope(const RopeSpec& spec) : spec_(spec), fixed_(base_frequencies(spec.theta, spec.dim)) {
  if (spec.kind == RopeKind::longrope) {
    stretched_ = fixed_;
    for (size_t i = 0; i < fixed_.size(); ++i) {
      fixed_[i] /= spec.short_factors[i];
      stretched_[i] /= spec.long_factors[i];
    }
  }
  if (spec.kind == RopeKind::proportional) {
    for (float& f : fixed_) f /= static_cast<float>(spec.factor);
    std::fill(fixed_.begin() + spec.turning / 2, fixed_.end(), 0.0f);
  }
  if (spec.kind == RopeKind::linear) {
    for (float& f : fixed_) f /= static_cast<float>(spec.factor);
  }
  if (spec.kind == RopeKind::yarn) stretch_yarn(spec_, fixed_);
  if (spec.kind == RopeKind::llama3) stretch_llama3(spec_, fixed_);
}

const std::vector<float>& Rope::frequencies(int64_t length) {
  if (spec_.kind == RopeKind::longrope) return length > spec_.original_context ? stretched_ : fixed_;
  if (spec_.kind != RopeKind::dynamic || length <= spec_.original_context || spec_.dim <= 2) return fixed_;
  if (length != stretched_length_) {
    const auto dim = static_cast<double>(spec_.dim);
    const double stretch =
        spec_.factor * static_cast<double>(length) / static_cast<double>(spec_.original_context) -
        (spec_.factor - 1);
    stretched_ = base_frequencies(spec_.theta * std::pow(stretch, dim / (dim - 2)), spec_.dim);
    stretched_length_ = length;
  }
  return stretched_;
}

RopeRows Rope::rows(std::span<const Row> rows, std::span<const int64_t> lengths) {
  std::vector<int64_t> wanted;
  wanted.reserve(2 * rows.size());
  for (size_t r = 0; r < rows.size(); ++r) wanted.insert(wanted.end(), {rows[r].position, lengths[r]});
  if (wanted != made_for_) {
    make(rows, lengths);
    made_for_ = std::move(wanted);
  }
  return {.cos = cos_.data(), .sin = sin_.data(), .dim = spec_.dim, .layout = spec_.layout};
}

void Rope::make(std::span<const Row> rows, std::span<const int64_t> lengths) {
  const auto half = static_cast<size_t>(spec_.dim / 2);
  cos_.resize(rows.size() * half);
  sin_.resize(rows.size() * half);
  const auto scale = static_cast<float>(spec_.attention_factor);
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::vector<float>& f = frequencies(lengths[r]);
    const auto position = static_cast<float>(rows[r].position);
    for (size_t i = 0; i < half; ++i) {
      const auto angle = static_cast<double>(position * f[i]);
      cos_[r * half + i] = static_cast<float>(std::cos(angle)) * scale;
      sin_[r * half + i] = static_cast<float>(std::sin(angle)) * scale;
    }
  }
}

}  // namespace gptq
